#include "data/tokenizer.h"

#define LIST all_tokenizers
#define KIND "tokenizer"
#define INFO TokenizerInfo
#define ENTRIES tokenizers
#define LINES "lists/tokenizers.def"
#include "config/list.inc"
