#include "store/safetensors_header.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <limits>
#include <set>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"

namespace effllm {
namespace {

struct TypeRow {
  StoredType type;
  std::string_view name;
  size_t bytes;
};
constexpr std::array<TypeRow, 8> kTypes = {{{StoredType::f32, "F32", 4},
                                            {StoredType::f64, "F64", 8},
                                            {StoredType::i64, "I64", 8},
                                            {StoredType::i32, "I32", 4},
                                            {StoredType::u8, "U8", 1},
                                            {StoredType::boolean, "BOOL", 1},
                                            {StoredType::bf16, "BF16", 2},
                                            {StoredType::f16, "F16", 2}}};
// Sizes and offsets are kept as int64_t elsewhere, so nothing above its range is let in.
constexpr uint64_t kMaxSize = std::numeric_limits<int64_t>::max();

const TypeRow& row_of(StoredType type) {
  return *std::ranges::find_if(kTypes, [&](const TypeRow& row) { return row.type == type; });
}

// Follows the parser's events through the only nesting that is legal:
//   root { "__metadata__": metadata {text: text}, name: tensor {"dtype": text, "shape": [..], "data_offsets": [..]} }
// Anything else ends the parse at its first token, so neither depth nor size can run away.
class HeaderEvents final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderEvents(const std::string& file) : file_(file) {}

  bool null() override { fail("null is not expected"); }
  bool boolean(bool) override { fail("true or false is not expected"); }
  bool number_integer(number_integer_t) override { fail("a number is negative"); }
  bool number_float(number_float_t, const string_t& text) override {
    fail(fmt::format("`{}` is not a whole number of 64 bits", printable(text)));
  }
  bool binary(binary_t&) override { fail("binary is not expected"); }

  // Lists are bounded while they grow, so a header cannot make us keep more than it shows.
  bool number_unsigned(number_unsigned_t value) override {
    if (place_ != Place::shape && place_ != Place::offsets) fail("a number is not expected");
    if (value > kMaxSize) fail(fmt::format("{} is too large", value));
    if (numbers_.size() == (place_ == Place::shape ? SafetensorsLimits::kRank : 2))
      fail(place_ == Place::shape ? "`shape` has more than 8 sizes" : "`data_offsets` has more than 2 numbers");
    numbers_.push_back(static_cast<int64_t>(value));
    return true;
  }
  bool string(string_t& text) override {
    if (place_ == Place::metadata) {
      header.metadata[key_] = std::move(text);
      return true;
    }
    if (place_ != Place::tensor || field_ != "dtype") fail("a text is not expected");
    const auto row = std::ranges::find(kTypes, std::string_view(text), &TypeRow::name);
    if (row == kTypes.end())
      fail(fmt::format("dtype `{}` is not supported; only F32 F64 F16 BF16 I64 I32 U8 BOOL are", shown(text)));
    entry_.type = row->type;
    return true;
  }
  // JSON itself allows a key twice; two readers could then see two different files.
  bool key(string_t& text) override {
    if (place_ == Place::root) {
      key_ = text;
      if (!names_.insert(text).second) fail("the name stands twice");
      if (text != "__metadata__" && !valid_tensor_name(text))
        fail("a name may have at most 512 characters of A-Z a-z 0-9 _ . - /");
    } else if (place_ == Place::metadata) {
      key_ = text;
      if (!header.metadata.emplace(text, "").second) fail("the key stands twice in __metadata__");
    } else {
      if (text != "dtype" && text != "shape" && text != "data_offsets")
        fail(fmt::format("unknown field `{}`", shown(text)));
      field_ = text;
      if (!fields_.insert(text).second) fail(fmt::format("field `{}` stands twice", text));
    }
    return true;
  }
  bool start_object(size_t) override {
    if (place_ == Place::start) {
      place_ = Place::root;
    } else if (place_ == Place::root) {
      place_ = key_ == "__metadata__" ? Place::metadata : Place::tensor;
      if (header.entries.size() == SafetensorsLimits::kTensors) fail("more than 100000 tensors");
      entry_ = {};
      entry_.name = key_;
      fields_.clear();
      field_.clear();
    } else {
      fail("an object is not expected");
    }
    return true;
  }
  bool end_object() override {
    if (place_ == Place::tensor) {
      if (fields_.size() != 3) fail("one of dtype, shape, data_offsets is missing");
      header.entries.push_back(std::move(entry_));
    }
    place_ = place_ == Place::root ? Place::end : Place::root;
    return true;
  }
  bool start_array(size_t) override {
    if (place_ != Place::tensor || (field_ != "shape" && field_ != "data_offsets")) fail("a list is not expected");
    place_ = field_ == "shape" ? Place::shape : Place::offsets;
    numbers_.clear();
    return true;
  }
  bool end_array() override {
    if (place_ == Place::shape) {
      entry_.shape = numbers_;
    } else {
      if (numbers_.size() != 2) fail("`data_offsets` needs 2 numbers");
      entry_.begin = static_cast<uint64_t>(numbers_[0]);
      entry_.end = static_cast<uint64_t>(numbers_[1]);
    }
    place_ = Place::tensor;
    return true;
  }
  // Also for bytes that are not UTF-8, and for numbers beyond a double.
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) override {
    throw CheckpointError("{}: header is not valid JSON near its byte {}", file_, position);
  }

  SafetensorsHeader header;

 private:
  enum class Place { start, root, metadata, tensor, shape, offsets, end };

  // Short, and safe to print: the text comes from the file.
  static std::string shown(std::string_view text) { return printable(text.substr(0, 80)); }
  [[noreturn]] void fail(std::string_view what) const {
    throw CheckpointError("{}: header{}: {}", file_, key_.empty() ? "" : fmt::format(", `{}`", shown(key_)), what);
  }

  const std::string& file_;  // for messages
  Place place_ = Place::start;
  std::string key_, field_;  // the last key of the root or metadata, and of a tensor
  std::set<std::string> names_, fields_;
  std::vector<int64_t> numbers_;
  SafetensorsEntry entry_;
};

}  // namespace

std::string_view stored_type_name(StoredType type) { return row_of(type).name; }
size_t stored_type_bytes(StoredType type) { return row_of(type).bytes; }

bool valid_tensor_name(std::string_view name) {
  return !name.empty() && name != "__metadata__" && name.size() <= SafetensorsLimits::kNameBytes &&
         std::ranges::all_of(name, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
                  c == '-' || c == '/';
         });
}

std::optional<uint64_t> tensor_bytes(StoredType type, const std::vector<int64_t>& shape) {
  uint64_t bytes = stored_type_bytes(type);
  bool empty = false;
  for (const int64_t size : shape) {
    if (size < 0) return std::nullopt;
    empty = empty || size == 0;
    if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(std::max<int64_t>(size, 1)), &bytes) || bytes > kMaxSize)
      return std::nullopt;
  }
  return empty ? 0 : bytes;
}

SafetensorsHeader parse_safetensors_header(std::string_view text, uint64_t data_bytes, const std::string& file) {
  // The parser takes NUL for the end of the text and allows any white space around it; the format does neither.
  if (text.empty() || text.front() != '{') throw CheckpointError("{}: header does not begin with `{{`", file);
  if (text.find('\0') != std::string_view::npos) throw CheckpointError("{}: header has a zero byte", file);
  if (const size_t last = text.find_last_not_of(' '); text[last] != '}')
    throw CheckpointError("{}: header does not end with `}}` and spaces", file);

  HeaderEvents events(file);
  nlohmann::json::sax_parse(text, &events);

  // Sorted by (begin, end), tensors of no bytes come before the one that begins at the same place.
  SafetensorsHeader& header = events.header;
  std::ranges::sort(header.entries, {}, [](const SafetensorsEntry& e) { return std::tie(e.begin, e.end, e.name); });
  uint64_t expected = 0;
  for (const SafetensorsEntry& e : header.entries) {
    if (e.begin != expected || e.end < e.begin || e.end > data_bytes)
      throw CheckpointError("{}: tensor `{}`: data_offsets [{}, {}] leave a hole or overlap; {} of {} are taken", file,
                            e.name, e.begin, e.end, expected, counted(static_cast<int64_t>(data_bytes), "byte"));
    const auto bytes = tensor_bytes(e.type, e.shape);
    if (!bytes || *bytes != e.end - e.begin)
      throw CheckpointError("{}: tensor `{}`: {} {} does not have the {} that data_offsets says", file, e.name,
                            stored_type_name(e.type), e.shape, counted(static_cast<int64_t>(e.end - e.begin), "byte"));
    expected = e.end;
  }
  if (expected != data_bytes)
    throw CheckpointError("{}: {} after the last tensor", file,
                          counted(static_cast<int64_t>(data_bytes - expected), "byte"));
  return std::move(header);
}

}  // namespace effllm
