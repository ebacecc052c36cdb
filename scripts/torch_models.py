"""The models of configs/bench in plain PyTorch, written from their equations, with weights by effllm's names.

Only scripts/bench_vs_torch.py needs this; the product and its tests never import PyTorch.
"""
import torch
import torch.nn.functional as F


def dropout(x, p, training=True):
    return F.dropout(x, p, training) if p else x


class Attention(torch.nn.Module):
    """Multi-head softmax attention; PyTorch's flash kernel where its dropout is 0."""

    def __init__(self, weights, heads, p):
        super().__init__()
        self.qkv, self.out = weights["qkv.weight"], weights["out.weight"]
        self.heads, self.p = heads, p

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = (
            y.view(b, t, self.heads, d // self.heads).transpose(1, 2) for y in F.linear(x, self.qkv).split(d, dim=2)
        )
        o = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=self.p)
        return F.linear(o.transpose(1, 2).reshape(b, t, d), self.out)


class MinGru(torch.nn.Module):
    """Feng et al. 2024, listing 6: the scan in log space by cumulative sums; h_0 = 0."""

    def __init__(self, weights, heads, p):
        super().__init__()
        self.weight = weights["in.weight"]

    def forward(self, x):
        gate, candidate = F.linear(x, self.weight).chunk(2, dim=2)
        log_g = torch.where(candidate >= 0, (F.relu(candidate) + 0.5).log(), -F.softplus(-candidate))
        a_star = torch.cumsum(-F.softplus(gate), dim=1)
        return torch.exp(a_star + torch.logcumsumexp(-F.softplus(-gate) + log_g - a_star, dim=1))


class Recurrent(torch.nn.Module):
    """nn.LSTM or nn.GRU as PyTorch runs them, on the model's own parameters. Their second bias is zero where we have
    one: a constant, so that it is not trained."""

    KIND, GATES = None, 0

    def __init__(self, weights, heads, p):
        super().__init__()
        self.w_in, self.b_in, self.w_state = weights["in.weight"], weights["in.bias"], weights["recurrent.weight"]
        width = self.w_state.shape[1]
        own = weights.get("recurrent.bias")
        self.own = own
        self.register_buffer("rest", torch.zeros((self.GATES - (own is not None)) * width), persistent=False)
        self.register_buffer("start", torch.zeros(1, 1, width), persistent=False)

    @torch.compiler.disable  # as nn.LSTM and nn.GRU do: unrolled over time they would take minutes to compile
    def forward(self, x):
        b_state = self.rest if self.own is None else torch.cat([self.rest, self.own])
        h0 = self.start.expand(1, x.shape[0], -1).contiguous()
        weights = [self.w_in, self.w_state, self.b_in, b_state]
        # What nn.LSTM.forward and nn.GRU.forward call: has_biases, layers, dropout, train, bidirectional, batch_first.
        if self.KIND == "lstm":
            return torch._VF.lstm(x, (h0, h0), weights, True, 1, 0.0, True, False, True)[0]
        return torch._VF.gru(x, h0, weights, True, 1, 0.0, True, False, True)[0]


class Lstm(Recurrent):
    KIND, GATES = "lstm", 4


class Gru(Recurrent):
    KIND, GATES = "gru", 3


class Gla(torch.nn.Module):
    """Gated linear attention with one decay a head, by matrix products over chunks of 64 (as Mamba-2's SSD)."""

    CHUNK = 64

    def __init__(self, weights, heads, p):
        super().__init__()
        self.qkvg, self.out, self.norm = weights["qkvg.weight"], weights["out.weight"], weights["norm.weight"]
        self.decay, self.bias = weights["decay.weight"], weights["decay.bias"]
        self.heads = heads
        self.register_buffer("mask", torch.ones(self.CHUNK, self.CHUNK).tril().bool(), persistent=False)

    def forward(self, x):
        b, t, d = x.shape
        h, n, c = self.heads, t // self.CHUNK, self.CHUNK
        w = d // h
        q, k, v, g = F.linear(x, self.qkvg).split(d, dim=2)
        q, k, v = (y.view(b, n, c, h, w).permute(0, 3, 1, 2, 4) for y in (q, k, v))  # [B, H, N, C, W]
        log_a = F.logsigmoid(F.linear(x, self.decay, self.bias)) / 16
        cum = log_a.view(b, n, c, h).permute(0, 3, 1, 2).cumsum(dim=3)  # [B, H, N, C]
        q = q * w**-0.5
        scores = q @ k.transpose(3, 4) * torch.exp((cum[..., :, None] - cum[..., None, :]).masked_fill(~self.mask, -1e9))
        o = scores @ v
        total = cum[..., -1]  # [B, H, N]
        into = (k * torch.exp(total[..., None] - cum)[..., None]).transpose(3, 4) @ v  # [B, H, N, W, W]
        states, s = [], torch.zeros(b, h, w, w)
        for i in range(n):
            states.append(s)
            s = s * torch.exp(total[:, :, i])[..., None, None] + into[:, :, i]
        o = o + (q * torch.exp(cum)[..., None]) @ torch.stack(states, dim=2)
        o = o.permute(0, 2, 3, 1, 4).reshape(b, t, h, w)
        o = (o * torch.rsqrt(o.square().mean(3, keepdim=True) + 1e-5) * self.norm).reshape(b, t, d)
        return F.linear(o * F.silu(g), self.out)


class Moe(torch.nn.Module):
    """Top-2 experts with GELU: `form` loop runs one expert after the other on the tokens that chose it, padded all of
    them as one batched product over as many rows as the busiest has."""

    TOP = 2

    def __init__(self, weights, form):
        super().__init__()
        self.router, up, down = weights["router.weight"], weights["experts.up.weight"], weights["experts.down.weight"]
        self.up, self.down, self.form = up, down, form

    def forward(self, x):
        b, t, d = x.shape
        experts = self.router.shape[0]
        up, down = self.up.view(experts, -1, d), self.down.view(experts, d, -1)
        rows = x.reshape(b * t, d)
        weight, chosen = F.linear(rows, self.router).softmax(dim=1).topk(self.TOP, dim=1)
        weight = weight / weight.sum(dim=1, keepdim=True)
        y = torch.zeros_like(rows)
        if self.form == "loop":
            for e in range(experts):
                token, choice = torch.where(chosen == e)
                out = F.linear(F.gelu(F.linear(rows[token], up[e])), down[e])
                y = y.index_add(0, token, out * weight[token, choice][:, None])
            return y.view(b, t, d)
        flat = chosen.reshape(-1)
        order = flat.argsort(stable=True)
        counts = flat.bincount(minlength=experts)
        place = torch.arange(flat.numel()) - (counts.cumsum(0) - counts)[flat[order]]  # among its expert's rows
        packed = x.new_zeros(experts, int(counts.max()), d).index_put((flat[order], place), rows[order // self.TOP])
        out = F.gelu(packed @ up.transpose(1, 2)) @ down.transpose(1, 2)
        y = y.index_add(0, order // self.TOP, out[flat[order], place] * weight.reshape(-1)[order][:, None])
        return y.view(b, t, d)


MIXERS = {"attention": Attention, "min_gru": MinGru, "lstm": Lstm, "gru": Gru, "gla": Gla}


class Model(torch.nn.Module):
    """Pre-norm blocks with LayerNorm without bias and a GELU MLP or experts, a tied or separate head."""

    def __init__(self, weights, mixer, heads, p, form=""):
        super().__init__()
        self.w = torch.nn.ParameterDict({n.replace(".", "/"): torch.nn.Parameter(t) for n, t in weights.items()})
        self.p, self.blocks = p, torch.nn.ModuleList()
        layers = 1 + max(int(n.split(".")[1]) for n in weights if n.startswith("layers."))
        for i in range(layers):
            prefix = f"layers/{i}/mixer/"
            own = {n[len(prefix):].replace("/", "."): t for n, t in self.w.items() if n.startswith(prefix)}
            self.blocks.append(MIXERS[mixer](own, heads, p))
        self.experts = torch.nn.ModuleList()
        for i in range(layers if form else 0):
            prefix = f"layers/{i}/ffn/"
            own = {n[len(prefix):].replace("/", "."): t for n, t in self.w.items() if n.startswith(prefix)}
            self.experts.append(Moe(own, form))

    def norm(self, x, name):
        return F.layer_norm(x, (x.shape[-1],), self.w[name + "/weight"])

    def ffn(self, x, i):
        if self.experts:
            return self.experts[i](x)
        at = f"layers/{i}/ffn/"
        return F.linear(F.gelu(F.linear(x, self.w[at + "up/weight"])), self.w[at + "down/weight"])

    def forward(self, tokens, targets):
        x = F.embedding(tokens, self.w["embedding/weight"])
        if "positions/weight" in self.w:
            x = x + self.w["positions/weight"][: tokens.shape[1]]
        x = dropout(x, self.p)
        for i, mixer in enumerate(self.blocks):
            at = f"layers/{i}/"
            x = x + dropout(mixer(self.norm(x, at + "mixer_norm")), self.p)
            x = x + dropout(self.ffn(self.norm(x, at + "ffn_norm"), i), self.p)
        head = self.w["head/weight" if "head/weight" in self.w else "embedding/weight"]
        logits = F.linear(self.norm(x, "final_norm"), head)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1))


class Peer:
    """The model with PyTorch's fused AdamW and clipping at norm 1: one step on a batch, its loss returned."""

    def __init__(self, tensors, decayed, mixer, heads, p, compiled, form="", lr=1e-3, decay=0.1):
        weights = {n: t.clone() for n, t in tensors.items() if n not in ("inputs", "targets")}
        self.model = Model(weights, mixer, heads, p, form)
        self.run = torch.compile(self.model) if compiled else self.model
        with_decay = [q for n, q in self.model.w.items() if n.replace("/", ".") in decayed]
        without = [q for n, q in self.model.w.items() if n.replace("/", ".") not in decayed]
        self.optimizer = torch.optim.AdamW(
            [{"params": with_decay, "weight_decay": decay}, {"params": without, "weight_decay": 0.0}],
            lr=lr, betas=(0.9, 0.99), eps=1e-8, fused=True)
        self.inputs, self.targets = tensors["inputs"].long(), tensors["targets"].long()
        self.done = 0

    def step(self):
        i = self.done % self.inputs.shape[0]
        self.done += 1
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.run(self.inputs[i], self.targets[i])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return loss.item()
