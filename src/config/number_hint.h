// What to write for a text that other programs take for a number or a truth value.
#pragma once
#include <string>
#include <string_view>

namespace effllm {

// 1e3, 1_000, 1,000, 1.0 and +1000 where an integer is wanted, 1_000.5 and +1e-3 where any number is: the same number
// as a configuration writes it. Empty where the text is none, or none that 64 bits hold exactly.
std::string integer_meant(std::string_view text);
std::string number_meant(std::string_view text);
// yes, On, TRUE: true; no, off, False: false. Empty for others.
std::string_view truth_meant(std::string_view text);

}  // namespace effllm
