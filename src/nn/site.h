// Sites: the uses of layers in a model, a tree that is built once. Weights are declared by name in a Scope, once; what
// belongs to a place is declared here, once per use: a layer used twice has two states, two dropout masks and two names
// in taps and profiles.
#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/tensor.h"

namespace effllm {

class Layer;

// fixed: of one size. window: rows of the last tokens. per_token: rows that become more with every token. memory: rows
// of an encoder's tokens, as many as it gave.
enum class Growth { fixed, window, per_token, memory };

// One named tensor of what is remembered at a site, of each sequence.
struct StateField {
  std::string name, path = {};  // "h", "layers.3.mixer.h"
  Shape shape = {};             // where it grows, of one row
  Growth growth = Growth::fixed;
  std::function<int64_t(int64_t tokens)> rows = {};  // that so many tokens leave at most, where it grows
  bool count = false;                                // of tokens, i64
  size_t index = 0;                                  // in Site::all() of the root
  Shape shape_for(int64_t tokens) const { return rows ? shape.with_first(rows(tokens)) : shape; }
};

// A value of each token, [B, T, width], that one place gives and later ones need.
struct SharedValue {
  std::string name;
  int64_t width;
  bool needed = false;  // among those that the root gives: by somebody
};

class Site {
 public:
  Site() : Site(nullptr, {}) {}  // the root of a tree
  Site(const Site&) = delete;    // those inside know where it is
  Site& operator=(const Site&) = delete;

  // A place inside this one, of another name than its neighbours; with a layer a use of it, which declares what it has.
  Site& child(std::string_view name);
  Site& child(std::string_view name, const Layer& layer);
  void field(std::string_view name, const Shape& shape);
  // Rows of shape `row`: of the last tokens, `most` of them, or of all tokens, one a token unless `rows` says
  // otherwise.
  void window(std::string_view name, int64_t most, const Shape& row);
  void per_token(std::string_view name, const Shape& row, std::function<int64_t(int64_t tokens)> rows = {});
  // Rows of shape `row`, one of each token of an encoder's memory (Layer::remember), and in a field `length` how many
  // those of a sequence are. A state has a row of zeros until it is given one.
  void of_memory(const std::vector<std::string_view>& names, const Shape& row);
  // Counts the tokens of the running document in a field `seen`, for what is inside too.
  void count_tokens();
  void forget() { forgets_ = true; }  // what is inside has no room in a state
  // Mixers inside read keys and values that an earlier use of them has lent (Tokens::lent), and have none of their own.
  void borrow() { borrows_ = true; }
  // Values on the shelf (Call::give, Call::take). A ConfigError where nothing declared before gives what is needed, of
  // this width, where samples may leave out what gives, or more are needed than a block that is run again can take.
  void gives(std::string_view name, int64_t width);
  // The same of a value that others may have given before, and that nobody has to take: theirs is on the shelf no more.
  void gives_anew(std::string_view name, int64_t width);
  void needs(std::string_view name, int64_t width);
  bool on_shelf(std::string_view name) const { return root_->gives(name); }  // something declared before gives it
  void may_be_left_out() { left_out_ = true; }                               // by some samples, with what is inside

  const std::string& path() const { return path_; }  // "layers.3.mixer"
  void begins() { before_ = nullptr; }               // it goes on from nothing that stands before it
  const Site* before() const { return before_; }     // the place beside it that was declared last before it, or null
  const Site& operator[](std::string_view child) const;
  const StateField& operator()(std::string_view field) const;  // an Error that lists those of this site if it has none
  bool forgets() const { return forgets_; }
  bool borrows() const { return borrows_; }
  bool counts_tokens() const { return counts_; }
  bool reads_memory() const { return reads_memory_; }  // this site, or one inside it
  const Site& counter() const;                         // the nearest that counts tokens
  // What this site and those inside give, and what they need of others; null where there is none of the name.
  const std::vector<SharedValue>& given() const { return given_; }
  const std::vector<SharedValue>& needed() const { return needed_; }
  const SharedValue* gives(std::string_view name) const;
  const SharedValue* needs(std::string_view name) const;
  // Of this site and those inside, in the order of their declaration.
  std::vector<const StateField*> all() const;
  // Of one sequence after so many tokens at most, with a memory of so many, without counts.
  int64_t bytes(int64_t tokens, DType t, int64_t memory = 0) const;

 private:
  Site(Site* parent, std::string path);
  void add(StateField f);

  Site *parent_, *root_;
  const Site* before_;
  std::string path_;
  std::vector<std::pair<std::string, std::unique_ptr<Site>>> children_;
  std::vector<const StateField*> own_;
  std::deque<StateField> fields_;  // the root's: of all sites
  size_t first_, last_;            // this one's and those inside among them
  std::vector<SharedValue> given_, needed_;
  bool counts_ = false, reads_memory_ = false, forgets_, borrows_, left_out_;
};

// A layer by itself: the root of a tree, which counts tokens.
std::shared_ptr<const Site> site_of(const Layer& layer);

}  // namespace effllm
