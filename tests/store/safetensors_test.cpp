#include "store/safetensors.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cstring>
#include <fstream>

#include "base/error.h"
#include "base/hash.h"
#include "store/temp_folder.h"

using namespace effllm;

namespace {

std::string length_prefix(uint64_t n) {
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &n, 8);
  return bytes;
}

// A file of any header and data; nothing is checked.
std::string raw_file(const std::string& header, const std::string& data = "") {
  return length_prefix(header.size()) + header + data;
}

template <class T>
StoredTensor stored(std::string name, StoredType type, std::vector<int64_t> shape, const std::vector<T>& values) {
  return {std::move(name), type, std::move(shape), reinterpret_cast<const std::byte*>(values.data()),
          values.size() * sizeof(T)};
}

// The CheckpointError of a file with these bytes, or "" where it loads. Reads all that the file offers.
std::string refusal(const TempFolder& folder, const std::string& bytes, bool verify = true) {
  spill(folder / "f.safetensors", bytes);
  return message_of<CheckpointError>([&] {
    const SafetensorsFile file(folder / "f.safetensors", verify);
    Sha256 hash;
    for (const StoredTensor& t : file.tensors()) hash.update(std::span(t.data, t.bytes));
    hash.hex();
  });
}

const std::vector<float> kFloats = {1.5f, -2.0f, 3.25f, 0.0f, 1e-30f, 7.0f};
const std::vector<int64_t> kStep = {-12};
const std::vector<uint8_t> kBytes = {1, 2, 255};

std::string small_file(const TempFolder& folder) {
  write_safetensors(folder / "small",
                    {stored("w", StoredType::f32, {2, 3}, kFloats), stored("state.step", StoredType::i64, {}, kStep),
                     stored("b", StoredType::u8, {3}, kBytes)},
                    {{"format", "pt"}});
  return slurp(folder / "small");
}

}  // namespace

TEST_CASE("safetensors: a round trip keeps names, types, shapes, bytes and metadata") {
  const TempFolder folder("st_round");
  const std::vector<double> f64 = {0.1, -0.0};
  const std::vector<int32_t> i32 = {7};
  const std::vector<uint16_t> half = {0x3F80, 0x7FC0};
  const std::vector<float> none;
  write_safetensors(
      folder / "m",
      {stored("layers.0/w-1", StoredType::f32, {2, 3}, kFloats), stored("scalar", StoredType::i64, {}, kStep),
       stored("empty", StoredType::f32, {4, 0, 2}, none), stored("also.empty", StoredType::f64, {0}, none),
       stored("d", StoredType::f64, {2}, f64), stored("i", StoredType::i32, {1, 1}, i32),
       stored("u", StoredType::u8, {3}, kBytes), stored("flags", StoredType::boolean, {1}, std::vector<uint8_t>{1}),
       stored("h", StoredType::bf16, {2}, half), stored("g", StoredType::f16, {2}, half)},
      {{"config", "a: \"b\"\n\x01 \xC3\xA9"}, {"", "empty key"}});
  SafetensorsFile read(folder / "m");
  const SafetensorsFile file = std::move(read);
  CHECK(file.tensors().size() == 10);
  CHECK(file.metadata().at("config") == "a: \"b\"\n\x01 \xC3\xA9");
  CHECK(file.metadata().at("") == "empty key");
  CHECK(file.metadata().at("digest").size() == 64);
  const StoredTensor* w = file.find("layers.0/w-1");
  REQUIRE(w);
  CHECK(w->type == StoredType::f32);
  CHECK(w->shape == std::vector<int64_t>{2, 3});
  REQUIRE(w->bytes == 24);
  CHECK(std::memcmp(w->data, kFloats.data(), 24) == 0);
  REQUIRE(file.find("scalar"));
  CHECK(file.find("scalar")->shape.empty());
  CHECK(file.find("scalar")->bytes == 8);
  REQUIRE(file.find("empty"));
  CHECK(file.find("empty")->shape == std::vector<int64_t>{4, 0, 2});
  CHECK(file.find("empty")->bytes == 0);
  CHECK(file.find("flags")->type == StoredType::boolean);
  CHECK(file.find("h")->type == StoredType::bf16);
  CHECK(file.find("g")->type == StoredType::f16);
  CHECK(file.find("none") == nullptr);
}

TEST_CASE("safetensors: wide elements come first, and the data begins at a multiple of 64") {
  const TempFolder folder("st_layout");
  const std::string bytes = small_file(folder);
  uint64_t n = 0;
  std::memcpy(&n, bytes.data(), 8);
  CHECK((8 + n) % 64 == 0);
  const SafetensorsFile file(folder / "small");
  CHECK(file.tensors()[0].name == "state.step");
  CHECK(file.tensors()[1].name == "w");
  CHECK(file.tensors()[2].name == "b");
}

TEST_CASE("safetensors: the digest is the SHA-256 of header with zeros and data") {
  const TempFolder folder("st_digest");
  std::string rest = small_file(folder).substr(8);
  const std::string digest = SafetensorsFile(folder / "small").metadata().at("digest");
  const size_t at = rest.find(digest);
  REQUIRE(at != std::string::npos);
  rest.replace(at, 64, std::string(64, '0'));
  CHECK(sha256(rest) == digest);
}

TEST_CASE("safetensors: saving what was loaded, digest and all, gives the same file") {
  const TempFolder folder("st_again");
  const std::string bytes = small_file(folder);
  const SafetensorsFile file(folder / "small");
  write_safetensors(folder / "again", file.tensors(), file.metadata());
  CHECK(slurp(folder / "again") == bytes);
}

TEST_CASE("safetensors: a file without tensors or metadata, and one of others without digest, load") {
  const TempFolder folder("st_others");
  write_safetensors(folder / "none", {}, {});
  CHECK(SafetensorsFile(folder / "none").tensors().empty());
  CHECK(refusal(folder, raw_file("{}")) == "");
  CHECK(refusal(folder, raw_file("{}   ")) == "");
  CHECK(refusal(folder, raw_file(R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})", "xyz")) == "");
  // Fields in any order, white space, escapes, zero sizes anywhere, tensors in any order.
  CHECK(refusal(folder, raw_file(R"({ "b":{"data_offsets":[4, 4],"shape":[0],"dtype":"F64"}, "\u0061":
      {"shape":[],"dtype":"F32","data_offsets":[0,4]},"__metadata__":{"digest":"of another kind"},
      "c":{"dtype":"BF16","shape":[0,5],"data_offsets":[0,0]}} )",
                                 "1234")) == "");
}

TEST_CASE("safetensors: the digest is checked, unless asked not to") {
  const TempFolder folder("st_verify");
  std::string bytes = small_file(folder);
  bytes.back() ^= 1;
  CHECK(refusal(folder, bytes).find("digest") != std::string::npos);
  CHECK(refusal(folder, bytes, false) == "");
  const std::string other = R"({"__metadata__":{"digest":")" + std::string(64, 'z') + R"("}})";
  CHECK(refusal(folder, raw_file(other)).find("digest") != std::string::npos);
}

TEST_CASE("safetensors: each broken rule is refused with its reason") {
  const TempFolder folder("st_rules");
  const auto header = [](std::string_view entry) { return raw_file(fmt::format("{{\"a\":{}}}", entry), "12345678"); };
  const std::string good = R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  REQUIRE(refusal(folder, header(good)) == "");
  const std::string four = R"({"dtype":"F32","shape":[],"data_offsets":[0,4]})";
  const std::string deep = std::string(50'000, '[') + std::string(50'000, ']');
  const struct {
    std::string bytes, reason;
  } cases[] = {
      {"", "too few"},
      {"1234567", "too few"},
      {length_prefix(1) + "", "length"},
      {length_prefix(uint64_t{1} << 63) + "{}", "length"},
      {length_prefix(~uint64_t{0}) + "{}", "length"},
      {length_prefix(~uint64_t{0} - 7) + "{}", "length"},
      {raw_file(""), "begin"},
      {raw_file(" {}"), "begin"},
      {raw_file("[]"), "begin"},
      {raw_file("\xEF\xBB\xBF{}"), "begin"},
      {raw_file("{}\n"), "end with"},
      {raw_file("{} {}"), "JSON"},
      {raw_file(std::string("{}\0}", 4)), "zero byte"},
      {raw_file("{"), "end with"},
      {raw_file("{,}"), "JSON"},
      {raw_file("{\"a\xFF\":{}}"), "JSON"},
      {raw_file("{\"__metadata__\":{\"a\":\"\xC0\xAF\"}}"), "JSON"},
      {raw_file("{}", "x"), "after the last"},
      {header("5"), "a number is not expected"},
      {header("-5"), "negative"},
      {header("null"), "null"},
      {header("true"), "true"},
      {header("\"x\""), "a text"},
      {header("[]"), "a list"},
      {header("{}"), "missing"},
      {header(R"({"dtype":"F32","shape":[2]})"), "missing"},
      {header(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1})"), "unknown field"},
      {header(R"({"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]})"), "twice"},
      {header(R"({"dtype":"f32","shape":[2],"data_offsets":[0,8]})"), "not supported"},
      {header(R"({"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]})"), "`F8_E4M3` is not supported"},
      {header(R"({"dtype":3,"shape":[2],"data_offsets":[0,8]})"), "a number is not expected"},
      {header(R"({"dtype":["F32"],"shape":[2],"data_offsets":[0,8]})"), "a list"},
      {header(R"({"dtype":{"a":"F32"},"shape":[2],"data_offsets":[0,8]})"), "an object"},
      {header(R"({"dtype":"F32","shape":2,"data_offsets":[0,8]})"), "a number is not expected"},
      {header(R"({"dtype":"F32","shape":"2","data_offsets":[0,8]})"), "a text"},
      {header(R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})"), "negative"},
      {header(R"({"dtype":"F32","shape":[2.0],"data_offsets":[0,8]})"), "whole number"},
      {header(R"({"dtype":"F32","shape":[1e999],"data_offsets":[0,8]})"), "JSON"},
      {header(R"({"dtype":"F32","shape":["2"],"data_offsets":[0,8]})"), "a text"},
      {header(R"({"dtype":"F32","shape":[[2]],"data_offsets":[0,8]})"), "a list"},
      {header(R"({"dtype":"F32","shape":)" + deep + R"(,"data_offsets":[0,8]})"), "a list"},
      {header(deep), "a list"},
      {header(R"({"dtype":"F32","shape":[2,1,1,1,1,1,1,1,1],"data_offsets":[0,8]})"), "more than 8"},
      {header(R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})"), "does not have the 8 bytes"},
      {header(R"({"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,8]})"), "too large"},
      {header(R"({"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,8]})"), "whole number"},
      {header(R"({"dtype":"F32","shape":[4611686018427387904,4,2],"data_offsets":[0,8]})"), "does not have"},
      {header(R"({"dtype":"F32","shape":[4294967296,4294967297],"data_offsets":[0,8]})"), "does not have"},
      {raw_file(R"({"a":{"dtype":"F32","shape":[0,9223372036854775807,4],"data_offsets":[0,0]}})"), "does not have"},
      {header(R"({"dtype":"F32","shape":[2],"data_offsets":[0]})"), "needs 2"},
      {header(R"({"dtype":"F32","shape":[2],"data_offsets":[]})"), "needs 2"},
      {header(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8,8]})"), "more than 2"},
      {header(R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})"), "hole"},
      {header(R"({"dtype":"F32","shape":[2],"data_offsets":[1,9]})"), "hole"},
      {header(R"({"dtype":"F32","shape":[4],"data_offsets":[0,16]})"), "hole"},
      {header(R"({"dtype":"U8","shape":[7],"data_offsets":[1,8]})"), "hole"},
      {header(R"({"dtype":"U8","shape":[7],"data_offsets":[0,7]})"), "1 byte after"},
      {header(R"({"dtype":"F32","shape":[2],"data_offsets":[9223372036854775800,9223372036854775807]})"), "hole"},
      {header(good + R"(,"a":)" + good), "twice"},
      {header(good + R"(,"b":)" + good), "overlap"},
      {header(four + R"(,"b":{"dtype":"U8","shape":[3],"data_offsets":[5,8]})"), "hole"},
      {header(four + R"(,"b":{"dtype":"U8","shape":[5],"data_offsets":[3,8]})"), "overlap"},
      {header(good + R"(,"":)" + good), "a name may"},
      {header(good + R"(,"a b":)" + good), "a name may"},
      {header(good + R"(,"\u0000":)" + good), "a name may"},
      {header(good + R"(,"\u001b[31m":)" + good), "a name may"},
      {header(good + ",\"" + std::string(513, 'n') + "\":" + good), "a name may"},
      {header(good + R"(,"__metadata__":[])"), "a list"},
      {header(good + R"(,"__metadata__":"x")"), "a text"},
      {header(good + R"(,"__metadata__":{"k":1})"), "a number"},
      {header(good + R"(,"__metadata__":{"k":null})"), "null"},
      {header(good + R"(,"__metadata__":{"k":{}})"), "an object"},
      {header(good + R"(,"__metadata__":{"k":"1","k":"2"})"), "twice"},
      {header(good + R"(,"__metadata__":{},"__metadata__":{})"), "twice"},
  };
  for (const auto& c : cases) {
    const std::string message = refusal(folder, c.bytes);
    CAPTURE(c.bytes.substr(0, 200));
    CAPTURE(message);
    CHECK(message.find(c.reason) != std::string::npos);
    CHECK(message.find("f.safetensors") != std::string::npos);
    CHECK(message.find('\x1b') == std::string::npos);
  }
}

TEST_CASE("safetensors: a header over 16 MiB and more than 100000 tensors are refused") {
  const TempFolder folder("st_large");
  CHECK(refusal(folder, raw_file("{}" + std::string(size_t{16} << 20, ' '))).find("limit") != std::string::npos);
  CHECK(refusal(folder, raw_file("{}" + std::string((size_t{16} << 20) - 2, ' '))) == "");
  std::string header = "{";
  for (int i = 0; i <= 100'000; ++i)
    header += fmt::format(R"("{}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}},)", i);
  header.back() = '}';
  CHECK(refusal(folder, raw_file(header)).find("100000 tensors") != std::string::npos);
}

TEST_CASE("safetensors: a file cut at any length, or longer by a byte, is refused") {
  const TempFolder folder("st_cut");
  const std::string bytes = small_file(folder);
  for (size_t n = 0; n < bytes.size(); ++n) {
    CAPTURE(n);
    CHECK(refusal(folder, bytes.substr(0, n), false) != "");
  }
  CHECK(refusal(folder, bytes + "x", false) != "");
  CHECK(refusal(folder, bytes) == "");
}

TEST_CASE("safetensors: every flipped bit is found, but for those that turn the key `digest` into another") {
  const TempFolder folder("st_flip");
  const std::string bytes = small_file(folder);
  const size_t key = bytes.find("digest\":");
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    std::string flipped = bytes;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    const bool in_key = bit / 8 >= key && bit / 8 < key + 6;
    CAPTURE(bit);
    if (refusal(folder, flipped).empty()) CHECK(in_key);
    refusal(folder, flipped, false);  // may load, but reads nothing out of bounds
  }
}

TEST_CASE("safetensors: what the reader would refuse is not written, and the old file stays") {
  const TempFolder folder("st_write");
  spill(folder / "m", "old");
  const auto message = [&](std::vector<StoredTensor> tensors, std::map<std::string, std::string> metadata = {}) {
    return message_of<CheckpointError>([&] { write_safetensors(folder / "m", std::move(tensors), metadata); });
  };
  const StoredTensor w = stored("w", StoredType::f32, {2, 3}, kFloats);
  CHECK(message({w, w}).find("two tensors") != std::string::npos);
  const auto refused = [&](auto change, const char* reason) {
    StoredTensor bad = w;
    change(bad);
    CHECK_MESSAGE(message({bad}).find(reason) != std::string::npos, message({bad}));
  };
  for (const char* name : {"a b", "__metadata__"}) refused([&](StoredTensor& t) { t.name = name; }, "name");
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{7}, {-2, -3}, {2, 3, 1, 1, 1, 1, 1, 1, 1}})
    refused([&](StoredTensor& t) { t.shape = shape; }, "shape");
  refused([](StoredTensor& t) { t.data = nullptr; }, "shape");
  CHECK(message({w}, {{"k", "\xFF"}}).find("UTF-8") != std::string::npos);
  CHECK(slurp(folder / "m") == "old");
  CHECK_THROWS_AS(write_safetensors(folder / "none" / "m", {w}, {}), IoError);
  CHECK_THROWS_AS(SafetensorsFile(folder / "missing"), IoError);
}

TEST_CASE("safetensors: keys and values that imitate the digest don't mislead it") {
  const TempFolder folder("st_imitate");
  const std::string zeros(64, '0');
  write_safetensors(folder / "m", {stored("w", StoredType::f32, {2, 3}, kFloats)},
                    {{"a", zeros}, {"a\"digest", zeros}, {"b", "\"digest\":\"" + zeros + "\""}, {"digest", "stale"}});
  const SafetensorsFile file(folder / "m");
  CHECK(file.metadata().at("a") == zeros);
  CHECK(file.metadata().at("digest") != "stale");
}

TEST_CASE("safetensors: a sparse file larger than memory is refused before it is read") {
  const TempFolder folder("st_sparse");
  spill(folder / "m", raw_file("{}"));
  std::error_code error;
  std::filesystem::resize_file(folder / "m", uintmax_t{1} << 42, error);
  if (!error) CHECK_THROWS_AS(SafetensorsFile(folder / "m"), IoError);
}
