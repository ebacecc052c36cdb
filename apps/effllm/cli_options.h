// What may be written after each command that takes more than a few options.
#pragma once
#include <CLI/CLI.hpp>

#include "commands.h"
#include "serve_command.h"
#include "study_commands.h"

namespace effllm::app {

// Of an option that may be given several times: one value each time, so that what comes after it is not taken too.
void one_each(CLI::Option* o);

void declare_train(CLI::App& app, TrainArgs& a);
void declare_eval(CLI::App& app, EvalArgs& a);
void declare_generate(CLI::App& app, GenerateArgs& a);
void declare_serve(CLI::App& app, ServeArgs& a);
void declare_verify(CLI::App& app, VerifyArgs& a);
void declare_plot(CLI::App& app, PlotArgs& a);
void declare_sweep(CLI::App& app, SweepArgs& a);
void declare_compare(CLI::App& app, CompareArgs& a);
void declare_report(CLI::App& app, ReportArgs& a);
void declare_format(CLI::App& app, BenchFormat& f);
void declare_bench_train(CLI::App& app, BenchArgs& a);
void declare_bench_decode(CLI::App& app, DecodeArgs& a);
void declare_bench_speculate(CLI::App& app, SpeculateArgs& a);
void declare_bench_list(CLI::App& app, BenchListArgs& a);

}  // namespace effllm::app
