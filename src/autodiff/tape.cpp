#include "autodiff/tape.h"

#include <unordered_set>

#include "autodiff/interrupt.h"
#include "autodiff/meter.h"
#include "autodiff/profile.h"

namespace effllm {

thread_local Tape* Tape::current = nullptr;
thread_local ParamGrads* ParamGrads::current = nullptr;

namespace {

void add_into(const Tensor& from, const Tensor& to) {
  if (to.is_meta()) return;
  dispatch_float(to.dtype(), [&]<class T>() {
    const auto a = from.view<T>();
    const auto b = to.view<T>();
    for (int64_t r = 0; r < b.rows; ++r) {
      const T* __restrict x = a.row(r);
      T* __restrict y = b.row(r);
      for (int64_t c = 0; c < b.cols; ++c) y[c] += x[c];
    }
  });
}

// In meta mode no op runs; what it would take meanwhile is counted here.
void count_scratch(size_t bytes) {
  if (bytes > 0) Tensor::dense({static_cast<int64_t>((bytes + 3) / 4)}, DType::f32);
}

}  // namespace

void ParamGrads::zero_unwritten() {
  for (size_t i = 0; i < views.size(); ++i)
    if (!written[i]) fill(views[i], 0);
}

int Tape::new_slot() {
  slots_.emplace_back();
  return static_cast<int>(slots_.size()) - 1;
}

Tensor Tape::leaf(Tensor t) {
  t.slot = new_slot();
  return t;
}

Tensor Tape::grad(const Tensor& leaf) const {
  require(leaf.slot >= 0, "grad() takes a leaf of this tape");
  return slots_[static_cast<size_t>(leaf.slot)].grad;
}

Sink Tape::sink(int slot, const TensorSpec& spec) {
  if (slot < kUntracked) {
    ParamGrads* grads = ParamGrads::current;
    require(grads, "a parameter is tracked, but this thread has nowhere to put its gradient");
    const auto i = static_cast<size_t>(kUntracked - 1 - slot);
    const bool written = std::exchange(grads->written[i], char{1});
    return {grads->views[i], written};
  }
  Slot& s = slots_[static_cast<size_t>(slot)];
  if (s.grad.defined()) {
    if (s.group < 0 && !s.grad.unique()) s.grad = s.grad.clone();  // shared with another slot: never write through it
    return {s.grad, true};
  }
  if (s.group >= 0) {
    Group& g = groups_[static_cast<size_t>(s.group)];
    if (!g.buffer.defined()) g.buffer = Tensor::empty(g.spec.shape, g.spec.dtype);
    s.grad = g.buffer.columns(s.column, spec.shape.cols()).reshape(spec.shape);
  } else {
    s.grad = Tensor::empty(spec.shape, spec.dtype);
  }
  return {s.grad, false};
}

void Tape::give(int slot, const TensorSpec& spec, Tensor g) {
  if (slot == kUntracked) return;
  require(g.shape() == spec.shape, "a gradient of {} was given for {}", g.shape().str(), spec.shape.str());
  g.slot = kUntracked;
  if (slot >= 0) {
    Slot& s = slots_[static_cast<size_t>(slot)];
    if (!s.grad.defined() && s.group < 0) {
      s.grad = std::move(g);
      return;
    }
  }
  const Sink to = sink(slot, spec);
  to.accumulate ? add_into(g, to.into) : copy(g, to.into);
}

// The parts wrote into one buffer; what no part wrote is zero.
void Tape::finish_split(Record& r) {
  Group* g = nullptr;
  for (const auto& o : r.out)
    if (slots_[static_cast<size_t>(o.slot)].grad.defined())
      g = &groups_[static_cast<size_t>(slots_[static_cast<size_t>(o.slot)].group)];
  if (!g) return;
  for (const auto& o : r.out) {
    Slot& s = slots_[static_cast<size_t>(o.slot)];
    if (!s.grad.defined()) fill(g->buffer.columns(s.column, o.shape.cols()), 0);
    s.grad = Tensor();
  }
  Tensor whole = std::exchange(g->buffer, Tensor());
  if (MetaMode::on() && r.in[0].slot < kUntracked) return;  // on shapes a parameter's gradient is in nobody's memory
  give(r.in[0].slot, r.in[0].spec, std::move(whole));
}

void Tape::watch_gradients(const NanWatch& watch, const Record& r) const {
  for (const auto& i : r.in) {
    if (i.slot >= 0) watch.check(r.op->name(), r.layer, "an input gradient", slots_[static_cast<size_t>(i.slot)].grad);
    const auto parameter = static_cast<size_t>(kUntracked - 1 - i.slot);
    if (i.slot < kUntracked && ParamGrads::current && ParamGrads::current->written[parameter])
      watch.check(r.op->name(), r.layer, "a parameter gradient", ParamGrads::current->views[parameter]);
  }
}

void Tape::run_backward(Record& r, std::span<const Tensor> grads) {
  if (MetaMode::on() && !r.op->runs_ops_backward()) {
    std::vector<TensorSpec> specs;
    for (const auto& i : r.in) {
      specs.push_back(i.spec);
      if (i.slot >= 0) sink(i.slot, i.spec);
    }
    count_scratch(r.op->scratch(specs).backward);
    return;
  }
  const Profile::Span span(r.op->name(), r.layer, Way::backward, r.cost.backward_flops, r.cost.backward_bytes);
  Backward cx(*this, r, grads);
  r.op->backward(cx);
  cx.finish();
}

void Tape::backward(std::span<const Seed> seeds) {
  Paused pause;
  seeds_.insert(seeds_.end(), seeds.begin(), seeds.end());
  for (const Seed& s : std::exchange(seeds_, {})) {
    require(s.of.slot >= 0, "backward starts from a tensor that no recorded op made");
    give(s.of.slot, {s.of.shape(), s.of.dtype()}, s.gradient);
  }
  std::vector<Tensor> grads;
  while (!records_.empty()) {
    Record r = std::move(records_.back());
    records_.pop_back();  // what the op kept is free as soon as it has run
    if (r.op->splits_columns()) {
      finish_split(r);
      continue;
    }
    grads.clear();
    bool reached = false;
    for (const auto& o : r.out) {
      grads.push_back(o.slot >= 0 ? std::exchange(slots_[static_cast<size_t>(o.slot)].grad, Tensor()) : Tensor());
      reached |= grads.back().defined();
    }
    if (!reached) continue;
    Interrupt::check();
    run_backward(r, grads);
    if (const NanWatch* w = NanWatch::current()) watch_gradients(*w, r);
  }
}

void Tape::backward(const Tensor& of, Tensor gradient) {
  const Seed seed{of, std::move(gradient)};
  backward(std::span(&seed, 1));
}

size_t Tape::kept_bytes() const {
  std::unordered_set<const Buffer*> seen;
  size_t bytes = 0;
  const auto add = [&](const Tensor& t) {
    if (t.buffer() && seen.insert(t.buffer()).second) bytes += t.buffer()->bytes;
  };
  for (const Record& r : records_) {
    for (const auto& i : r.in) add(i.kept);
    for (const auto& o : r.out) add(o.kept);
  }
  return bytes;
}

const Tensor& Backward::in(int i) const { return record_.in[static_cast<size_t>(i)].kept; }
const Tensor& Backward::out(int i) const { return record_.out[static_cast<size_t>(i)].kept; }
Tensor Backward::whole_grad(int i) const { return grad(i).defined() ? grad(i) : Tensor::zeros(out_shape(i), dtype()); }
bool Backward::wants(int i) const { return record_.in[static_cast<size_t>(i)].slot != kUntracked; }
Sink Backward::sink(int i) {
  const auto& in = record_.in[static_cast<size_t>(i)];
  if (in.slot == kUntracked) return {Tensor(), false};
  if (lent(in.slot)) return {late_.emplace_back(i, Tensor::empty(in.spec.shape, in.spec.dtype)).second, false};
  lent_ |= 1U << i;
  return tape_.sink(in.slot, in.spec);
}
Tensor Backward::sum(int i) {
  const Sink s = sink(i);
  if (s && !s.accumulate) fill(s.into, 0);
  return s.into;
}
void Backward::give(int i, Tensor g) {
  const auto& in = record_.in[static_cast<size_t>(i)];
  if (lent(in.slot))
    late_.emplace_back(i, std::move(g));
  else
    tape_.give(in.slot, in.spec, std::move(g));
}
// Whether this record already has a sink of the slot: one tensor in two places. The gradient there is not complete.
bool Backward::lent(int slot) const {
  for (size_t j = 0; j < record_.in.size(); ++j)
    if (lent_ >> j & 1 && record_.in[j].slot == slot) return true;
  return false;
}
void Backward::finish() {
  for (auto& [i, g] : late_) {
    const auto& in = record_.in[static_cast<size_t>(i)];
    tape_.give(in.slot, in.spec, std::move(g));
  }
}
const Shape& Backward::in_shape(int i) const { return record_.in[static_cast<size_t>(i)].spec.shape; }
const Shape& Backward::out_shape(int i) const { return record_.out[static_cast<size_t>(i)].shape; }
DType Backward::dtype() const { return record_.in[0].spec.dtype; }

void require_one_type(std::string_view op, std::span<const Tensor> in) {
  const DType type = in[0].dtype();
  for (const Tensor& t : in)
    require(!t.defined() || (is_float(type) && t.dtype() == type), "{}: inputs of type {} and {}", op, to_string(type),
            to_string(t.dtype()));
}

std::vector<Tensor> run_many(std::unique_ptr<Op> op, std::span<const Tensor> in) {
  Interrupt::check();
  require(in.size() <= kMostInputs, "{}: {} inputs, more than {}", op->name(), in.size(), kMostInputs);
  Outputs outputs = op->infer(in);
  if (Meter* m = Meter::current()) m->count(*op, op->cost(in));
  bool tracked = false;
  for (const Tensor& t : in) tracked |= t.slot != kUntracked;
  Tape* tape = tracked ? Tape::current : nullptr;

  const bool split = op->splits_columns();
  std::vector<Tensor> out;
  out.reserve(outputs.specs.size());
  const size_t visible = outputs.specs.size() - static_cast<size_t>(outputs.hidden);
  for (size_t o = 0; o < outputs.specs.size(); ++o) {
    const TensorSpec& s = outputs.specs[o];
    const bool none = split || (o >= visible && !tape);
    out.push_back(none ? Tensor() : s.dense ? Tensor::dense(s.shape, s.dtype) : Tensor::empty(s.shape, s.dtype));
  }
  Forward cx(in, out, tape != nullptr);
  const Cost cost = Profile::on() ? op->cost(in) : Cost();
  if (!MetaMode::on() || split) {
    const Profile::Span span(op->name(), LayerName::current(), Way::forward, cost.forward_flops, cost.forward_bytes);
    op->forward(cx);
  } else {
    std::vector<TensorSpec> specs;
    for (const Tensor& t : in) specs.push_back({t.shape(), t.dtype()});
    count_scratch(op->scratch(specs).forward);
  }
  if (const NanWatch* w = NanWatch::current())
    for (const Tensor& t : out) w->check(op->name(), LayerName::current(), "an output", t);

  if (tape) {
    Record r;
    const Keeps keeps = op->keeps();
    for (size_t i = 0; i < in.size(); ++i)
      r.in.push_back(
          {in[i].slot, {in[i].shape(), in[i].dtype()}, keeps.inputs >> i & 1 ? in[i].untracked() : Tensor()});
    if (split) tape->groups_.push_back({{}, {in[0].shape(), in[0].dtype()}});
    int64_t column = 0;
    for (size_t o = 0; o < out.size(); ++o) {
      Record::Out rec{kUntracked, outputs.specs[o].shape, keeps.outputs >> o & 1 ? out[o].untracked() : Tensor()};
      if (o < visible && is_float(outputs.specs[o].dtype)) {
        out[o].slot = rec.slot = tape->new_slot();
        if (split) {
          Tape::Slot& s = tape->slots_.back();
          s.group = static_cast<int>(tape->groups_.size()) - 1;
          s.column = column;
          column += outputs.specs[o].shape.cols();
        }
      }
      r.out.push_back(std::move(rec));
    }
    r.op = std::move(op);
    r.layer = LayerName::current();
    r.cost = cost;
    tape->records_.push_back(std::move(r));
  } else {
    for (Tensor& t : out) t.slot = kUntracked;
  }
  out.resize(visible);
  return out;
}

Tensor run(std::unique_ptr<Op> op, std::initializer_list<Tensor> inputs) {
  return std::move(run_many(std::move(op), inputs)[0]);
}

}  // namespace effllm
