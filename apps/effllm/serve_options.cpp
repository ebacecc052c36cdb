// Of the command that waits for requests.
#include <CLI/CLI.hpp>

#include "cli_options.h"
#include "cli_validators.h"
#include "config/options.h"

namespace effllm::app {

void declare_serve(CLI::App& app, ServeArgs& a) {
  const CLI::Validator tokens = integer(1, static_cast<int64_t>(kMostTokens));
  ServeLimits& l = a.limits;
  app.add_option("model", a.model, "Names a run folder or a checkpoint.")->required();
  app.add_option("--port", a.port, "Listens on this port; 0: one that is free, which is printed.")
      ->capture_default_str()
      ->check(integer(0, 65535));
  app.add_option("--host", a.host,
                 "Listens on this address in place of 127.0.0.1, for whoever reaches it and by any name: there is no "
                 "password.")
      ->check(not_empty("it is an address, such as 0.0.0.0"));
  app.add_option("--context", a.context,
                 "Sets how many tokens attention looks back on while a text is written; 0: all (default: as "
                 "`generate` has it).")
      ->check(integer(0, static_cast<int64_t>(kMostTokens)));
  app.add_option("--queue", l.waiting,
                 "Sets how many requests may wait while one is answered; others are refused (429).")
      ->capture_default_str()
      ->check(integer(1, 1000));
  app.add_option("--max-body", l.body_bytes, "Sets the bytes of a request's body at most (413).")
      ->capture_default_str()
      ->check(integer(1, 1 << 30));
  app.add_option("--max-prompt", l.prompt_tokens, "Sets the tokens of a prompt at most (400).")
      ->capture_default_str()
      ->check(tokens);
  app.add_option("--max-tokens", l.new_tokens, "Sets the new tokens of a text at most (400).")
      ->capture_default_str()
      ->check(tokens);
  app.add_option("--max-samples", l.texts, "Sets the texts of a request at most, prompts times n (400).")
      ->capture_default_str()
      ->check(integer(1, 1 << 20));
  app.add_option("--timeout", l.seconds, "Ends a request that is not answered after so many seconds (504).")
      ->capture_default_str()
      ->check(seconds());
}

}  // namespace effllm::app
