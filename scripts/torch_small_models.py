"""The models of scripts/measure_sweep.py in plain PyTorch, written from their equations (docs/mechanisms.md), with weights by
effllm's names, and each recurrence in the forms that PyTorch may be fastest with.

Only scripts/measure_sweep_torch.py needs this; the product and its tests never import PyTorch.
"""
import torch
import torch.nn.functional as F


def rotated(x, cos, sin):
    """RoPE of [B, H, T, W]: pairs (i, i + W/2) turn by the token's place."""
    first, second = x.chunk(2, dim=3)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=3)


class Attention(torch.nn.Module):
    """Softmax attention with RoPE, by PyTorch's fused kernel."""

    FORMS, TO_COMPILE = ["fused"], 1

    def __init__(self, weights, heads, form, tokens):
        super().__init__()
        self.qkv, self.out, self.heads = weights["qkv.weight"], weights["out.weight"], heads
        half = self.out.shape[1] // heads // 2
        angles = torch.arange(tokens).double()[:, None] * 10000.0 ** (-torch.arange(half).double() / half)
        self.register_buffer("cos", angles.cos().float(), persistent=False)
        self.register_buffer("sin", angles.sin().float(), persistent=False)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = (y.view(b, t, self.heads, -1).transpose(1, 2) for y in F.linear(x, self.qkv).chunk(3, dim=2))
        q, k = rotated(q, self.cos, self.sin), rotated(k, self.cos, self.sin)
        o = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return F.linear(o.transpose(1, 2).reshape(b, t, d), self.out)


class MinGru(torch.nn.Module):
    """h = (1 - z) h + z g(W x), z a sigmoid: in log space as in the paper's listing, or h = a h + b by doubling the stretch
    that is summed up seven times, or token by token."""

    FORMS, TO_COMPILE = ["log", "doubling", "tokens"], 2

    def __init__(self, weights, heads, form, tokens):
        super().__init__()
        self.weight, self.form = weights["in.weight"], form

    def forward(self, x):
        gate, candidate = F.linear(x, self.weight).chunk(2, dim=2)
        if self.form == "log":
            log_g = torch.where(candidate >= 0, (F.relu(candidate) + 0.5).log(), -F.softplus(-candidate))
            a_star = torch.cumsum(-F.softplus(gate), dim=1)
            return torch.exp(a_star + torch.logcumsumexp(-F.softplus(-gate) + log_g - a_star, dim=1))
        a = torch.sigmoid(-gate)
        h = torch.sigmoid(gate) * torch.where(candidate >= 0, candidate + 0.5, torch.sigmoid(candidate))
        if self.form == "doubling":
            step = 1
            while step < h.shape[1]:
                h = torch.cat([h[:, :step], torch.addcmul(h[:, step:], a[:, step:], h[:, :-step])], dim=1)
                if 2 * step < h.shape[1]:
                    a = torch.cat([a[:, :step], a[:, step:] * a[:, :-step]], dim=1)
                step *= 2
            return h
        every, now = [], torch.zeros_like(h[:, 0])
        for decay, new in zip(a.unbind(1), h.unbind(1)):
            now = torch.addcmul(new, decay, now)
            every.append(now)
        return torch.stack(every, dim=1)


def inverse_of_unit_lower(a, how):
    """(I + a)^-1 of a strictly lower triangular a, [..., C, C]: row by row as in flash-linear-attention's reference, or as
    (I - a)(I + a^2)(I + a^4) ..., which ends because a^C is 0."""
    size = a.shape[-1]
    eye = torch.eye(size)
    if how == "rows":
        rows = [-a[..., 0, :]]
        for i in range(1, size):
            row = -a[..., i, :i]
            above = torch.stack(rows, dim=-2)[..., :i]
            rows.append(F.pad(row + (row[..., None] * above).sum(-2), (0, size - i)))
        return torch.stack(rows, dim=-2) + eye
    inverse, power, reach = eye - a, a, 2
    while reach < size:
        power = power @ power
        inverse = inverse + inverse @ power
        reach *= 2
    return inverse


class GatedDelta(torch.nn.Module):
    """Gated DeltaNet by matrix products over chunks. `form`: the chunk's tokens, how its triangle is solved (rows, powers, or
    the library's solve), and the short convolution as conv1d or as four shifted products."""

    FORMS = ["64 rows conv1d", "64 powers conv1d", "64 powers shifts", "64 solve shifts", "32 powers shifts", "32 solve shifts"]
    TO_COMPILE = 1  # a minute each

    def __init__(self, weights, heads, form, tokens):
        super().__init__()
        self.qkvg, self.gates, self.out = weights["qkvg.weight"], weights["gates.weight"], weights["out.weight"]
        self.conv, self.norm = weights["conv.weight"], weights["norm.weight"]
        self.a_log, self.dt_bias, self.heads = weights["a_log"], weights["dt_bias"], heads
        chunk, self.how, self.taps = form.split()
        self.chunk, self.values = int(chunk), self.out.shape[1]
        self.keys = (self.qkvg.shape[0] - 2 * self.values) // 2
        self.register_buffer("seen", torch.ones(self.chunk, self.chunk).tril().bool(), persistent=False)

    def filtered(self, x):
        """The causal filter of each column, the last row of its weight on the newest token, then SiLU."""
        width, columns = self.conv.shape
        if self.taps == "conv1d":
            padded = F.pad(x.transpose(1, 2), (width - 1, 0))
            return F.silu(F.conv1d(padded, self.conv.t()[:, None, :], groups=columns).transpose(1, 2))
        padded, t = F.pad(x, (0, 0, width - 1, 0)), x.shape[1]
        y = padded[:, :t] * self.conv[0]
        for i in range(1, width):
            y = torch.addcmul(y, padded[:, i:i + t], self.conv[i])
        return F.silu(y)

    def forward(self, x):
        b, t, _ = x.shape
        h, c, n = self.heads, self.chunk, t // self.chunk
        qkv, g = F.linear(x, self.qkvg).split([2 * self.keys + self.values, self.values], dim=2)
        q, k, v = self.filtered(qkv).split([self.keys, self.keys, self.values], dim=2)
        q, k, v = (y.reshape(b, n, c, h, -1).permute(0, 3, 1, 2, 4) for y in (q, k, v))  # [B, H, N, C, W]
        q, k = (y * torch.rsqrt(y.square().sum(4, keepdim=True) + 1e-6) for y in (q, k))
        q = q * q.shape[4] ** -0.5
        beta, rate = F.linear(x, self.gates).chunk(2, dim=2)
        log_a = -self.a_log.exp() * F.softplus(rate + self.dt_bias)
        beta, log_a = (y.reshape(b, n, c, h).permute(0, 3, 1, 2) for y in (torch.sigmoid(beta), log_a))
        total = log_a.cumsum(3)
        decay = torch.exp((total[..., :, None] - total[..., None, :]).masked_fill(~self.seen, -torch.inf))
        weighted = k * beta[..., None]
        a = (weighted @ k.transpose(3, 4) * decay).tril(-1)
        wanted = torch.cat([v * beta[..., None], weighted * total.exp()[..., None]], dim=4)
        if self.how == "solve":
            solved = torch.linalg.solve_triangular(a, wanted, upper=False, unitriangular=True)
        else:
            solved = inverse_of_unit_lower(a, self.how) @ wanted
        u, w = solved.split([v.shape[4], k.shape[4]], dim=4)  # what is written where nothing was before; what is erased
        scores = q @ k.transpose(3, 4) * decay
        from_state, last = q * total.exp()[..., None], total[..., -1:]
        into = (k * torch.exp(last - total)[..., None]).transpose(3, 4)
        state, out = x.new_zeros(b, h, k.shape[4], v.shape[4]), []
        for i in range(n):
            new = u[:, :, i] - w[:, :, i] @ state
            out.append(from_state[:, :, i] @ state + scores[:, :, i] @ new)
            state = state * last[:, :, i, :, None].exp() + into[:, :, i] @ new
        o = torch.stack(out, dim=2).permute(0, 2, 3, 1, 4).reshape(b, t, h, -1)
        o = F.rms_norm(o, (o.shape[3],), self.norm, 1e-5).reshape(b, t, self.values)
        return F.linear(o * F.silu(g), self.out)


# arm of the study: its mixer, and that one's heads
ARMS = {"attention": (Attention, 4), "min_gru": (MinGru, 1), "gated_delta": (GatedDelta, 2)}


class Model(torch.nn.Module):
    """Pre-norm blocks with RMS norms and SwiGLU, the head's weights those of the embedding; forward gives the mean loss."""

    def __init__(self, weights, arm, form, tokens):
        super().__init__()
        self.w = torch.nn.ParameterDict({n.replace(".", "/"): torch.nn.Parameter(t.clone()) for n, t in weights.items()})
        mixer, heads = ARMS[arm]
        self.mixers = torch.nn.ModuleList()
        for i in range(1 + max(int(n.split(".")[1]) for n in weights if n.startswith("layers."))):
            prefix = f"layers/{i}/mixer/"
            own = {n[len(prefix):].replace("/", "."): t for n, t in self.w.items() if n.startswith(prefix)}
            self.mixers.append(mixer(own, heads, form, tokens))

    def load(self, weights):
        """Puts these values in the place of the parameters', so that what is compiled stays."""
        with torch.no_grad():
            for name, value in weights.items():
                self.w[name.replace(".", "/")].copy_(value)

    def norm(self, x, name):
        return F.rms_norm(x, (x.shape[2],), self.w[name + "/weight"], 1e-5)

    def forward(self, tokens, targets):
        x = F.embedding(tokens, self.w["embedding/weight"])
        for i, mixer in enumerate(self.mixers):
            at = f"layers/{i}/"
            x = x + mixer(self.norm(x, at + "mixer_norm"))
            gate, up = F.linear(self.norm(x, at + "ffn_norm"), self.w[at + "ffn/gate_up/weight"]).chunk(2, dim=2)
            x = x + F.linear(F.silu(gate) * up, self.w[at + "ffn/down/weight"])
        logits = F.linear(self.norm(x, "final_norm"), self.w["embedding/weight"])
        return F.cross_entropy(logits.view(-1, logits.shape[2]), targets.reshape(-1))
