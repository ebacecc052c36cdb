#include "base/table_formats.h"

#include <doctest/doctest.h>

#include "support/messages.h"

using namespace effllm;

TEST_CASE("tables: CSV puts in quotes what would be taken for more than one cell") {
  CHECK(csv_table({{"a", "b,c"}, {"say \"x\"", "1\n2"}}) == "a,\"b,c\"\n\"say \"\"x\"\"\",\"1\n2\"\n");
}

TEST_CASE("tables: LaTeX escapes its commands, and numbers stand on the right") {
  CHECK(latex_table({{"arm", "test (bits/char)", "x"}, {"a_b & 5 %", "<= 1.5 ± 0.1", "-"}, {"{~^\\}", "-0.5", "-"}}) ==
        "\\begin{tabular}{lrl}\n\\toprule\narm & test (bits/char) & x \\\\\n\\midrule\n"
        "a\\_b \\& 5 \\% & $\\le$ 1.5 $\\pm$ 0.1 & - \\\\\n\\{\\~{}\\^{}\\textbackslash{}\\} & -0.5 & - \\\\\n"
        "\\bottomrule\n\\end{tabular}\n");
  CHECK(has(latex_table({{"a"}, {"b\n\nc"}}), "b  c"));
}

TEST_CASE("tables: Markdown escapes what it would take for markup, and nothing else") {
  CHECK(markdown_text("min_gru: <= 1.5, 3 < 4 & 5, a-b") == "min_gru: <= 1.5, 3 < 4 & 5, a-b");
  CHECK(markdown_text("<b>_x_ *y* `z` [u](v) ~w~ $1$ &lt; \\") ==
        "\\<b>\\_x\\_ \\*y\\* \\`z\\` \\[u\\](v) \\~w\\~ \\$1\\$ \\&lt; \\\\");
  CHECK(markdown_text("</script><!-- a\nb") == "\\</script>\\<!-- a b");
}
