#include "base/hash.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include "base/error.h"

namespace effllm {

struct Sha256::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(context); }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  if (!state_->context || EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr) != 1)
    throw Error(ExitCode::internal, "SHA-256 is not available in this libcrypto");
}
Sha256::~Sha256() = default;

void Sha256::update(std::span<const std::byte> bytes) { EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()); }

std::string Sha256::hex() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned n = 0;
  EVP_DigestFinal_ex(state_->context, digest, &n);
  return fmt::format("{:02x}", fmt::join(digest, digest + n, ""));
}

std::string sha256_base64(std::string_view text) {
  unsigned char digest[EVP_MAX_MD_SIZE], coded[2 * EVP_MAX_MD_SIZE];
  unsigned n = 0;
  if (EVP_Digest(text.data(), text.size(), digest, &n, EVP_sha256(), nullptr) != 1)
    throw Error(ExitCode::internal, "SHA-256 is not available in this libcrypto");
  const int length = EVP_EncodeBlock(coded, digest, static_cast<int>(n));
  return {coded, coded + length};
}

std::string sha256(std::string_view text) {
  Sha256 h;
  h.update(text);
  return h.hex();
}

}  // namespace effllm
