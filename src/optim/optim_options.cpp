#include "optim/optim_options.h"

#include <fmt/format.h>

#include "nn/param_store.h"

namespace effllm {

void GroupOptions::visit(OptionVisitor& v) {
  v("match", match, "Says by name which parameters these are: * stands for any text, ? for one character.");
  v("lr", lr, "Sets the learning rate of these, under the same schedule; without it they keep theirs.", at_least(0));
  v("weight_decay", weight_decay, "Sets the weight decay of these; without it they keep theirs.", at_least(0));
}

void OptimOptions::visit(OptionVisitor& v) {
  type.visit_name(v, "type", "Chooses the optimizer.");
  v("lr", lr, "Sets the learning rate, which the schedule scales.", between(0, 100));
  v("beta1", beta1, "Sets the decay of the mean of gradients, a factor a step.", between(0, 0.99999));
  v("beta2", beta2, "Sets the decay of the mean of squared gradients, a factor a step.", between(0, 0.9999999));
  v("eps", eps, "Is added to the root of the second moment.", between(0, 1));
  v("weight_decay", weight_decay, "Sets the decay of matrices: a step takes lr * weight_decay of each weight away.",
    between(0, 100));
  v("clip", clip, "Sets the largest norm of the whole gradient; 0 switches clipping off.", at_least(0));
  v("schedule", schedule, "Describes the learning rate over the run: {type, warmup, final_lr}.");
  v("groups", groups, "Makes exceptions by name: [{match: \"*.bias\", lr: 1e-4, weight_decay: 0}].");
  type.visit_options(v, "type", mark);
}

bool matches(std::string_view pattern, std::string_view name) {
  size_t p = 0, n = 0, star = std::string_view::npos, resume = 0;
  while (n < name.size()) {
    if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p, ++n;
    } else if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

std::vector<ParameterSetting> group_settings(const OptimOptions& o, const std::vector<GroupOptions>& groups,
                                             const ParamStore& store) {
  const auto lr_of = o.type.info().lr;
  std::vector<ParameterSetting> settings;
  for (const Parameter* p : store.sorted())
    settings.push_back({(lr_of ? lr_of(o, *p) : o.lr) * p->traits.lr_scale, p->traits.decay ? o.weight_decay : 0});
  for (const GroupOptions& g : groups) {
    bool any = false;
    for (size_t i = 0; i < settings.size(); ++i) {
      if (!matches(g.match, store.sorted()[i]->name)) continue;
      any = true;
      if (g.lr) settings[i].lr = *g.lr;
      if (g.weight_decay) settings[i].weight_decay = *g.weight_decay;
    }
    if (!any)
      throw_at(g.mark, fmt::format("no parameter is called like `{}`; `effllm describe --parameters` lists their names",
                                   g.match));
  }
  return settings;
}

}  // namespace effllm
