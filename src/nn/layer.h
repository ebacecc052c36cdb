// The one contract that mixers, channel mixers and blocks fulfil, and what a mechanism says of itself.
#pragma once
#include <map>
#include <memory>
#include <span>
#include <string_view>

#include "config/list.h"
#include "nn/call.h"
#include "nn/param_store.h"

namespace effllm {

// How a mechanism reads a text that is longer than the sequences it was trained on. A mixer of parts joins theirs.
struct LongText {
  bool unseen = false;  // some of it then meets distances, or numbers of tokens, that training has not shown it
  bool reach = false;   // some of it keeps to Pass::reach
  bool anew = false;    // some of it meets what is unseen and doesn't keep to reach: only a new start helps
  LongText& operator|=(const LongText& o) {
    return *this = {.unseen = unseen || o.unseen, .reach = reach || o.reach, .anew = anew || o.anew};
  }
};

class Layer {
 public:
  virtual ~Layer() = default;

  // x: [B, T, D] -> [B, T, D]. Continues from the call's state and leaves the final one there: any way of cutting a
  // sequence into calls gives the same result. While a tape records, the state's fields are inputs and outputs of ops.
  Tensor forward(const Tensor& x, const Call& call) const;
  // The same of a layer by itself, whose state is made by make_state() and counts tokens. A memory that is given beside
  // a state is remembered first.
  Tensor forward(const Tensor& x, const Context& cx) const;
  // Puts into the call's state what is read of an encoder's memory: later calls of the state need no other.
  virtual void remember(const Memory&, const Call&) const {}
  // What a use of it has: the fields that it remembers, the places of layers inside it.
  virtual void declare(Site&) const {}
  // True of blocks: their sites count tokens (Site::count_tokens), and run() does so with Call::advance() at its end.
  virtual bool counts_tokens() const { return false; }
  // How many sequences training should keep in one shard: more than one where they share work, as sequential cells do.
  virtual int64_t sequences_together() const { return 1; }
  // True where training, leaving nothing out at random, computes another function than inference: one that chooses with
  // all of a sequence in view.
  virtual bool trains_otherwise() const { return false; }
  // After training on sequences of `trained` tokens. A recurrence follows a text of any length.
  virtual LongText long_text([[maybe_unused]] int64_t trained) const { return {}; }
  // Of this layer by itself. Room for `capacity` tokens; beyond it forward() throws a ShapeError.
  State make_state(int64_t batch, int64_t capacity, DType t) const { return {site_of(*this), batch, capacity, t}; }

 protected:
  virtual std::string_view output_name() const { return "out"; }  // what taps call it
  virtual Tensor run(const Tensor& x, const Call& call) const = 0;
};

struct LayerArgs {
  int64_t d_model, layer, layers;
  int64_t max_tokens;  // the longest sequence that training will see
  int64_t ids = 16;    // that tokens may have: those of the vocabulary, and what comes after it
  int64_t index_of_kind = 0, layers_of_kind = 1;  // among the layers whose mixer has this one's `type`
  bool with_ffn = true;                           // the layer has a channel mixer too
  bool lends_keys = false;                        // later uses in its block borrow keys and values: Site::borrow
  bool used_again = false;                        // other layers have its weights too (`use:`)
  int64_t block = 0;                              // Pass::block of the model's calls
  double dropout = 0;                             // of what layers add to the stream, where they don't say
  // In how many layers parts of a name are used, shared ones included; null: each in one.
  const std::map<std::string_view, int64_t>* uses = nullptr;
  int64_t layers_with(std::string_view part) const { return uses ? uses->at(part) : 1; }
};

// A multiple of the model width, rounded. ConfigError at the options' place where nothing is left.
int64_t width_of(double expand, const LayerArgs& args, const Options& o);

// Of the values of a head, where heads share out `keys` and `values` columns. ConfigError where they don't divide them.
int64_t head_width(std::string_view name, int64_t heads, int64_t keys, int64_t values, const Options& o);

// What a mechanism does not promise, each with its mathematical reason: printed by the tests and by `effllm list`.
struct Waivers {
  std::string_view split = "", causal = "";
  std::string_view training = "";  // why training may compute another function, see Layer::trains_otherwise
  std::string_view costs = "";     // why numbers decide what training costs: shapes alone say what is expected
};

struct LayerFacts {
  std::string_view name, title, family, recurrence, paper;
  // The code that formula, start, norms and rates follow, "owner/repository@commit", and what of it; "none: why".
  std::string_view source;
  std::string_view deviations = "";
  bool causal_form = true;         // false: it follows Direction::bidirectional alone, and continues from no state
  bool both_sides = false;         // it follows Direction::bidirectional too: a token then sees those after it
  bool prefix_and_blocks = false;  // it follows Tokens::prefix and Pass::block too, or takes each token by itself
  bool lends_keys = false;         // it may do so: LayerArgs::lends_keys
  bool reads_memory = false;       // of an encoder, which the model must have then
  Waivers waivers = {};
  std::string_view outside_training = "";  // the entry with fewer options that it is then; "": itself
  std::string_view unseen = "";            // which options meet what in a longer text than training's: LongText::unseen
  std::string_view needs = "{}";           // options without a default, as lists and benchmarks have them
  std::string_view tiny = "{}";            // options for D = 8 whose boundaries a short test crosses
  int64_t period = 4;                      // the largest block, window or chunk of `tiny`
  std::span<const std::string_view> variants = {};  // option sets on top of `tiny` that the tests run too
};

using LayerInfo = Entry<Layer, LayerFacts, const LayerArgs&, const Scope&>;

}  // namespace effllm
