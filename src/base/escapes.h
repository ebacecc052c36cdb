// Texts that can't be written as they are: escapes on a command line, paths in files that hold UTF-8 only.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>

namespace effllm {

// \n, \t, \r and \\ become what they stand for; any other backslash stays.
std::string unescape(std::string_view text);
// The inverse, for messages: safe to print, on one line.
std::string escape(std::string_view text);

// Any bytes as base64 (RFC 4648, with padding).
std::string base64(std::string_view bytes);

// A path as UTF-8: itself where it is printable, otherwise a URL as in RFC 8089, file:///a/%FF.
std::string path_text(const std::filesystem::path& path);
std::filesystem::path path_of_text(std::string_view text);

// As a word of a shell's command line: in quotes where it needs them.
std::string shell_word(const std::string& text);

}  // namespace effllm
