#include "store/hdf5.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <thread>

#include "base/error.h"
#include "store/hdf5_read.h"
#include "store/temp_folder.h"

using namespace effllm;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

H5Document small_document() {
  H5Document d;
  d.string_attributes = {{"effllm_format", "metrics"}, {"status", "r\xC3\xA9ussi"}, {"empty", ""}};
  d.int_attributes = {{"format_version", 1}, {"seed", std::numeric_limits<int64_t>::min()}};
  d.texts = {{"config_yaml", "model: {width: 8}\n"}, {"environment_json", ""}};
  d.groups = {{"train",
               {1, 2, 4},
               {{"loss", "nats/token", "cross entropy", {5.5, kNan, 0.1}},
                {"lr", "1", "learning rate", {1e-3, HUGE_VAL, -0.0}}}},
              {"val", {}, {{"bpc", "bits/character", "bits per character", {}}}}};
  d.events = {{2, 1.5, "warning", "loss spike"}, {4, kNan, "info", ""}};
  return d;
}

// Numbers that neither repeat nor compress, so that every chunk has content.
H5Document long_document(int64_t rows) {
  H5Document d;
  H5Group group{"train", {}, {{"loss", "nats/token", "", {}}, {"lr", "1", "", {}}}};
  for (int64_t i = 0; i < rows; ++i) {
    group.step.push_back(3 * i);
    group.series[0].values.push_back(std::sin(static_cast<double>(i)));
    group.series[1].values.push_back(1.0 / static_cast<double>(i + 1));
  }
  d.groups.push_back(std::move(group));
  return d;
}

}  // namespace

TEST_CASE("hdf5: series and steps are read back, NaN and infinity too") {
  const TempFolder folder("h5_round");
  write_hdf5(folder / "m.h5", small_document());
  CHECK(read_hdf5_series(folder / "m.h5", "train/step") == std::vector<double>{1, 2, 4});
  const auto loss = read_hdf5_series(folder / "m.h5", "train/loss");
  REQUIRE(loss.size() == 3);
  CHECK(loss[0] == 5.5);
  CHECK(std::isnan(loss[1]));
  CHECK(loss[2] == 0.1);
  CHECK(read_hdf5_series(folder / "m.h5", "train/lr")[1] == HUGE_VAL);
  CHECK(read_hdf5_series(folder / "m.h5", "val/bpc").empty());
}

TEST_CASE("hdf5: a document of nothing is a file") {
  const TempFolder folder("h5_nothing");
  write_hdf5(folder / "m.h5", {});
  CHECK_THROWS_AS(read_hdf5_series(folder / "m.h5", "train/loss"), DataError);
}

TEST_CASE("hdf5: series longer than a chunk, about its size, are read back") {
  const TempFolder folder("h5_long");
  for (const int64_t rows : {1, 8191, 8192, 8193, 30'000}) {
    const H5Document d = long_document(rows);
    write_hdf5(folder / "m.h5", d);
    CHECK(read_hdf5_series(folder / "m.h5", "train/loss") == d.groups[0].series[0].values);
    CHECK(read_hdf5_series(folder / "m.h5", "train/lr") == d.groups[0].series[1].values);
  }
}

TEST_CASE("hdf5: the same document gives the same bytes") {
  const TempFolder folder("h5_same");
  write_hdf5(folder / "a.h5", small_document());
  write_hdf5(folder / "b.h5", small_document());
  CHECK(slurp(folder / "a.h5") == slurp(folder / "b.h5"));
}

TEST_CASE("hdf5: texts that do not fit an event are cut between characters, and large texts are kept") {
  const TempFolder folder("h5_text");
  H5Document d;
  std::string accents;
  for (int i = 0; i < 2000; ++i) accents += "\xC3\xA9";
  d.events = {{1, 0.0, "warning", "a" + accents}};
  d.texts = {{"config_yaml", std::string(300'000, 'y')}};
  write_hdf5(folder / "m.h5", d);
  const std::string bytes = slurp(folder / "m.h5");
  CHECK(bytes.find(std::string(300'000, 'y')) != std::string::npos);
  CHECK(bytes.size() < 330'000);
  for (const char* text : {"\xC3\xA9", "\x80"}) {  // Octave reads no file that has one
    d.texts = {{"config_yaml", std::string("a: ") + text}};
    CHECK(message_of<IoError>([&] { write_hdf5(folder / "n.h5", d); }).find("config_yaml is not ASCII") !=
          std::string::npos);
  }
  d.texts = {{"config_yaml", std::string("a\0b", 3)}};
  CHECK_THROWS_AS(write_hdf5(folder / "n.h5", d), IoError);
}

TEST_CASE("hdf5: a document that makes no file is refused, and the old file stays") {
  const TempFolder folder("h5_refuse");
  spill(folder / "m.h5", "old");
  const auto refused = [&](auto change) {
    H5Document d = small_document();
    change(d);
    return !message_of<IoError>([&] { write_hdf5(folder / "m.h5", d); }).empty();
  };
  CHECK(refused([](H5Document& d) { d.groups[1].name = "train"; }));
  CHECK(refused([](H5Document& d) { d.groups[0].series[1].name = "loss"; }));
  CHECK(refused([](H5Document& d) { d.groups[0].series[1].name = "step"; }));
  CHECK(refused([](H5Document& d) { d.groups[0].series[1].name = "a/b"; }));
  CHECK(refused([](H5Document& d) { d.groups[0].name = ""; }));
  CHECK(refused([](H5Document& d) { d.groups[0].name = "."; }));
  CHECK(refused([](H5Document& d) { d.texts[0].first = "train"; }));
  CHECK(refused([](H5Document& d) { d.int_attributes[0].first = "status"; }));
  H5Document uneven = small_document();
  uneven.groups[0].series[0].values.pop_back();
  CHECK_THROWS_AS(write_hdf5(folder / "m.h5", uneven), ShapeError);
  CHECK(slurp(folder / "m.h5") == "old");
  CHECK_THROWS_AS(write_hdf5(folder / "none" / "m.h5", small_document()), IoError);
  write_hdf5(folder / "m.h5", small_document());
  CHECK(read_hdf5_series(folder / "m.h5", "train/step").size() == 3);
}

// The sums of chunks that the library checks while it reads.
TEST_CASE("hdf5: a changed byte of a series gives an error, not another number") {
  const TempFolder folder("h5_damage");
  const H5Document d = long_document(8192);
  write_hdf5(folder / "m.h5", d);
  const std::string bytes = slurp(folder / "m.h5");
  int refused = 0;
  for (size_t part = 1; part < 8; ++part) {
    std::string damaged = bytes;
    damaged[bytes.size() * part / 8] ^= 1;
    spill(folder / "d.h5", damaged);
    for (const size_t s : {size_t{0}, size_t{1}}) try {
        const H5Series& series = d.groups[0].series[s];
        CHECK(read_hdf5_series(folder / "d.h5", "train/" + series.name) == series.values);
      } catch (const DataError&) {
        ++refused;
      }
  }
  CHECK(refused > 0);
}

TEST_CASE("hdf5: threads may write and read at once") {
  const TempFolder folder("h5_threads");
  const H5Document d = long_document(500);
  write_hdf5(folder / "m.h5", d);
  std::jthread writer([&] {
    for (int i = 0; i < 10; ++i) write_hdf5(folder / "m.h5", d);
  });
  bool same = true;
  for (int i = 0; i < 20; ++i)
    same = same && read_hdf5_series(folder / "m.h5", "train/loss") == d.groups[0].series[0].values;
  CHECK(same);
}
