#include "store/journal.h"

#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>

#include "base/error.h"
#include "base/json.h"
#include "store/hdf5_read.h"
#include "store/temp_folder.h"

using namespace effllm;

namespace {

using Values = std::vector<Measured>;
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

constexpr Metric kMetrics[] = {
    {"loss", "nats/token", "cross entropy"}, {"bpc", "bits/character", "bits"}, {"ppl", "1", "perplexity"},
    {"stderr", "1", "standard error"},       {"lr", "1", "learning rate"},      {"tokens", "tokens", "tokens so far"},
    {"wall_s", "s", "time so far"}};
Values metrics() {
  Values all;
  for (const Metric& m : kMetrics) all.push_back(m(3));
  return all;
}
struct Reporting : Journal {
  explicit Reporting(const std::filesystem::path& path) : Journal(path) { reports(::metrics()); }
};

JournalData parsed(const TempFolder& folder, const std::string& text) {
  spill(folder / "text.jsonl", text);
  return read_journal(folder / "text.jsonl");
}

std::string train_row(int64_t step) {
  return R"({"type":"train","step":)" + std::to_string(step) + R"(,"loss":1.5})" + "\n";
}

}  // namespace

TEST_CASE("journal: what was written is read, bit for bit") {
  const TempFolder folder("journal_round");
  const Values values = {{"loss", 0.1}, {"lr", 1e-320}, {"tokens", 1e17}, {"ppl", -0.0}};
  {
    Reporting journal(folder / "m.jsonl");
    journal.header("run \"1\"\n", "abc");
    journal.row("train", 1, values);
    journal.row("val", 1, Values{{"loss", 5}});
    journal.row("train", -2, Values{});
    journal.event(1, "warning", "spike \xFF\n\x1b", 2.5);
    journal.event(2, "info", "no time");
    journal.sync();
  }
  const JournalData data = read_journal(folder / "m.jsonl");
  CHECK(data.run_id == "run \"1\"\n");
  CHECK(data.config_sha256 == "abc");
  CHECK(data.bad_lines == 0);
  REQUIRE(data.tables.size() == 2);
  const JournalTable* train = data.find("train");
  REQUIRE(train);
  CHECK(train->step == std::vector<int64_t>{1, -2});
  for (const auto& [name, value, metric] : values) {
    const auto* column = train->find(name);
    REQUIRE(column);
    CHECK(column->at(0) == value);
    CHECK(std::signbit(column->at(0)) == std::signbit(value));
    CHECK(std::isnan(column->at(1)));
  }
  CHECK(train->find("none") == nullptr);
  CHECK(data.find("none") == nullptr);
  REQUIRE(data.events.size() == 2);
  CHECK(data.events[0].wall_s == 2.5);
  CHECK(data.events[0].level == "warning");
  CHECK(data.events[0].text == "spike \xEF\xBF\xBD\n\x1b");
  CHECK(std::isnan(data.events[1].wall_s));
}

TEST_CASE("journal: every line is JSON, also where a number is not finite") {
  const TempFolder folder("journal_json");
  {
    Reporting journal(folder / "m.jsonl");
    journal.row("train", 3, Values{{"stderr", kNan}, {"loss", HUGE_VAL}, {"bpc", -HUGE_VAL}, {"lr", 2}});
    journal.event(3, "info", "no time", HUGE_VAL);
  }
  const std::string lines = slurp(folder / "m.jsonl");
  const auto record = nlohmann::json::parse(lines.substr(0, lines.find('\n')));
  for (const char* name : {"stderr", "loss", "bpc"}) CHECK(record[name].is_null());
  CHECK(record["not_finite"] == "stderr=nan loss=inf bpc=-inf");
  CHECK(record["lr"] == 2);
  CHECK_FALSE(nlohmann::json::parse(lines.substr(lines.find('\n'))).contains("wall_s"));
  // As they were written before there was `not_finite`; what it can't say is left alone.
  const std::string before = R"({"type":"train","step":3,"stderr":"nan","loss":"inf","bpc":"-inf","lr":2})"
                             "\n";
  const std::string odd =
      R"({"type":"train","step":3,"stderr":null,"lr":2,"not_finite":"stderr=nan  loss=inf = bpc=-inf lr=3 x y=nan/ "})"
      "\n";
  for (const JournalData& data : {read_journal(folder / "m.jsonl"), parsed(folder, before), parsed(folder, odd)}) {
    REQUIRE(data.tables.size() == 1);
    CHECK(data.tables[0].columns.size() == 4);
    CHECK(std::isnan(data.tables[0].find("stderr")->at(0)));
    CHECK(data.tables[0].find("loss")->at(0) == HUGE_VAL);
    CHECK(data.tables[0].find("bpc")->at(0) == -HUGE_VAL);
    CHECK(data.tables[0].find("lr")->at(0) == 2);
  }
}

TEST_CASE("journal: the header has every key that may follow, with a value of its type, and is no row") {
  const TempFolder folder("journal_header");
  {
    Reporting journal(folder / "m.jsonl");
    journal.header("r1", "abc");
    journal.reports(Values{kMetrics[1](2)});  // once more
    journal.row("val", 1, metrics());
    journal.row("train", 2, Values{{"loss", kNan}});
    journal.event(2, "info", "text", 1.5);
    journal.resume(2, "c");
  }
  std::istringstream lines(slurp(folder / "m.jsonl"));
  std::string line;
  REQUIRE(std::getline(lines, line));
  const auto header = nlohmann::json::parse(line);
  while (std::getline(lines, line)) {
    const auto record = nlohmann::json::parse(line);
    for (const auto& [key, value] : record.items()) {
      INFO(line << " " << key);
      REQUIRE(header.contains(key));
      if (!value.is_null()) CHECK(header[key].is_string() == value.is_string());
      if (key == "loss") CHECK(header[key].is_number_float());
      if (key == "step" || key == "from_step") CHECK(header[key].is_number_integer());
    }
  }
  const JournalData data = read_journal(folder / "m.jsonl");
  CHECK(data.run_id == "r1");
  REQUIRE(data.tables.size() == 2);
  CHECK(data.find("train")->step == std::vector<int64_t>{2});
  CHECK(data.events.size() == 2);
}

TEST_CASE("journal: names that would confuse a reader are refused") {
  const TempFolder folder("journal_names");
  Reporting journal(folder / "m.jsonl");
  for (const char* kind : {"", "event", "events", "header", "resume", "a b", "a\"", "a/b", "."}) {
    CAPTURE(kind);
    CHECK_THROWS_AS(journal.row(kind, 1, Values{}), ShapeError);
  }
  for (const char* name : {"", "type", "step", "not_finite", "my_metric", "a\"", "a/b", "a\n"}) {
    CAPTURE(name);
    CHECK_THROWS_AS(journal.row("train", 1, Values{{name, 1.0}}), ShapeError);
  }
  for (const char* name : {"", "type", "step", "not_finite", "a/b"})
    CHECK_THROWS_AS(journal.reports(Values{{name, 1.0, kMetrics}}), ShapeError);
  journal.reports(Values{{"layers.3.ffn.balance", 0, kMetrics}});
  CHECK_THROWS_AS(journal.row("train", 1, Values{{"layers.2.ffn.balance", 1.0}}), ShapeError);
  CHECK(slurp(folder / "m.jsonl").empty());
  journal.row("train", 1, Values{{"layers.3.ffn.balance", 1.0}});
  CHECK(slurp(folder / "m.jsonl") == "{\"type\":\"train\",\"step\":1,\"layers.3.ffn.balance\":1}\n");
}

TEST_CASE("journal: a run that was resumed has each step once") {
  const TempFolder folder("journal_resume");
  {
    Reporting journal(folder / "m.jsonl");
    for (int64_t s = 1; s <= 5; ++s) journal.row("train", s, Values{{"loss", 10.0 + static_cast<double>(s)}});
    journal.row("val", 4, Values{{"bpc", 2}});
    journal.event(5, "warning", "killed");
  }
  {
    Reporting journal(folder / "m.jsonl");
    journal.resume(3, "ckpt/step_3");
    for (int64_t s = 4; s <= 6; ++s) journal.row("train", s, Values{{"loss", 20.0 + static_cast<double>(s)}});
  }
  const JournalData data = read_journal(folder / "m.jsonl");
  CHECK(data.find("train")->step == std::vector<int64_t>{1, 2, 3, 4, 5, 6});
  CHECK(*data.find("train")->find("loss") == std::vector<double>{11, 12, 13, 24, 25, 26});
  CHECK(data.find("val") == nullptr);
  REQUIRE(data.events.size() == 2);
  CHECK(data.events[0].text == "killed");
  CHECK(data.events[1].step == 3);
  CHECK(data.events[1].text.find("ckpt/step_3") != std::string::npos);
}

TEST_CASE("journal: cut anywhere, it gives the whole lines before the cut, and goes on after it") {
  const TempFolder folder("journal_cut");
  std::string text;
  for (int64_t s = 1; s <= 3; ++s) text += train_row(s);
  for (size_t n = 0; n <= text.size(); ++n) {
    CAPTURE(n);
    const auto whole = static_cast<size_t>(std::count(text.begin(), text.begin() + static_cast<int64_t>(n), '\n'));
    const JournalData cut = parsed(folder, text.substr(0, n));
    CHECK(cut.bad_lines == 0);  // a last line that was cut short is none
    CHECK((cut.tables.empty() ? 0 : cut.tables[0].step.size()) == whole);
    {
      Reporting journal(folder / "text.jsonl");
      journal.resume(static_cast<int64_t>(whole), "c");
      journal.row("train", static_cast<int64_t>(whole) + 1, Values{{"loss", 9}});
    }
    const JournalData resumed = read_journal(folder / "text.jsonl");
    CHECK(resumed.bad_lines <= (n > 0 && text[n - 1] != '\n'));
    REQUIRE(resumed.tables.size() == 1);
    CHECK(resumed.tables[0].step.size() == whole + 1);
    CHECK(resumed.tables[0].find("loss")->back() == 9);
  }
}

TEST_CASE("journal: lines that are no records are counted and skipped") {
  const TempFolder folder("journal_bad");
  const auto text = [](std::string_view s) { return std::string(s) + "\n"; };
  const std::string deep = std::string(300'000, '[') + std::string(300'000, ']') + "\n";
  for (const std::string& bad :
       {text("nonsense"), text("[]"), text("5"), text("{}"), text({"\0", 1}), text(R"({"type":5,"step":1})"),
        text(R"({"type":"train"})"), text(R"({"type":"train","step":1.5})"), text(R"({"type":"train","step":"1"})"),
        text(R"({"type":"train","step":9223372036854775808})"), text(R"({"type":"train","step":1,"loss":1e999})"),
        text(R"({"type":"","step":1})"), text(R"({"type":"../x","step":1})"), text(R"({"type":"resume","step":1})"),
        text(R"({"type":"header"})"), text("{\"type\":\"train\",\"step\":1,\"a\":\"\xFF\"}"),
        text("{\"type\":\"" + std::string(2'000'000, 'x') + "\"}"), deep}) {
    CAPTURE(bad.substr(0, 80));
    const JournalData data = parsed(folder, train_row(1) + bad + train_row(2));
    CHECK(data.bad_lines == 1);
    REQUIRE(data.tables.size() == 1);
    CHECK(data.tables[0].step == std::vector<int64_t>{1, 2});
    const JournalData at_end = parsed(folder, train_row(1) + bad);
    CHECK(at_end.bad_lines == 0);
    CHECK(at_end.tables[0].step == std::vector<int64_t>{1});
  }
  CHECK(parsed(folder, "").tables.empty());
  CHECK(parsed(folder, "\n\n").bad_lines == 0);
}

TEST_CASE("journal: fields that are no numbers are left alone") {
  const TempFolder folder("journal_fields");
  const JournalData data =
      parsed(folder, R"({"type":"train","step":1,"note":"text","ok":true,"o":{"a":1},"n":null,"a b":1,"loss":2,"k":-3})"
                     "\n");
  REQUIRE(data.tables.size() == 1);
  CHECK(data.tables[0].columns.size() == 2);
  CHECK(data.tables[0].find("loss")->at(0) == 2);
  CHECK(data.tables[0].find("k")->at(0) == -3);
}

TEST_CASE("journal: a newer format and absurdly many metrics are refused") {
  const TempFolder folder("journal_newer");
  CHECK_THROWS_AS(parsed(folder, "{\"type\":\"header\",\"format_version\":2}\n"), DataError);
  std::string row = "{\"type\":\"train\",\"step\":1", kinds;
  for (int i = 0; i < 1025; ++i) {
    row += ",\"m" + std::to_string(i) + "\":1";
    kinds += "{\"type\":\"k" + std::to_string(i) + "\",\"step\":1}\n";
  }
  CHECK_THROWS_AS(parsed(folder, row + "}\n"), DataError);
  CHECK_THROWS_AS(parsed(folder, kinds), DataError);
  CHECK_THROWS_AS(read_journal(folder / "none"), IoError);
}

TEST_CASE("journal: it becomes an HDF5 file with units") {
  const TempFolder folder("journal_hdf5");
  {
    Reporting journal(folder / "m.jsonl");
    journal.header("r1", "abc");
    for (int64_t s = 1; s <= 3; ++s) journal.row("train", s, Values{{"loss", 1.0 / static_cast<double>(s)}});
    journal.row("val", 3, Values{{"bpc", 1.5}});
    journal.event(3, "info", "done");
  }
  std::ofstream(folder / "m.jsonl", std::ios::app) << R"({"type":"train","step":4,"loss":0,"my_metric":2})"
                                                   << "\n";  // later
  const H5Document d = to_hdf5(read_journal(folder / "m.jsonl"), metrics(), {{"status", "done"}, {"run_id", "mine"}},
                               {{"seed", 7}}, {{"config_yaml", "a: 1\n"}});
  REQUIRE(d.groups.size() == 2);
  CHECK(d.groups[0].name == "train");
  REQUIRE(d.groups[0].series.size() == 2);
  CHECK(d.groups[0].series[0].units == "nats/token");
  CHECK(d.groups[0].series[1].units == "");
  CHECK(d.groups[0].series[1].long_name == "my metric");
  CHECK(d.groups[1].series[0].units == "bits/character");
  CHECK(d.string_attributes.front() == std::pair<std::string, std::string>("effllm_format", "metrics"));
  CHECK(d.int_attributes.front() == std::pair<std::string, int64_t>("format_version", 1));
  CHECK(d.events.size() == 1);
  write_hdf5(folder / "m.h5", d);
  CHECK(read_hdf5_series(folder / "m.h5", "train/loss") == std::vector<double>{1, 0.5, 1.0 / 3, 0});
  CHECK(read_hdf5_series(folder / "m.h5", "val/bpc") == std::vector<double>{1.5});
}

TEST_CASE("journal: evaluations on the training split stand apart, those of earlier versions too") {
  CHECK(evaluation_kind("train") == "eval_train");
  CHECK(evaluation_kind("val") == "val");
  CHECK(evaluation_kind("test") == "test");
  TempFolder folder("journal_mixed");
  spill(folder / "m.jsonl",
        "{\"type\":\"train\",\"step\":5,\"loss\":2.5}\n"
        "{\"type\":\"train\",\"step\":5,\"loss\":2.25,\"scored_tokens\":100}\n"
        "{\"type\":\"train\",\"step\":6,\"loss\":2.0}\n");
  const JournalData data = read_journal(folder / "m.jsonl");
  REQUIRE(data.tables.size() == 2);
  CHECK(data.find("train")->step == std::vector<int64_t>{5, 6});
  CHECK(data.find("eval_train")->step == std::vector<int64_t>{5});
  CHECK(data.find("eval_train")->find("loss")->front() == 2.25);
}
