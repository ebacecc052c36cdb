#include "base/table_formats.h"

#include <doctest/doctest.h>

using namespace effllm;

TEST_CASE("tables: CSV puts in quotes what would be taken for more than one cell") {
  CHECK(csv_table({{"a", "b,c"}, {"say \"x\"", "1\n2"}}) == "a,\"b,c\"\n\"say \"\"x\"\"\",\"1\n2\"\n");
}

TEST_CASE("tables: LaTeX escapes its commands, and numbers stand on the right") {
  CHECK(latex_table({{"arm", "test (bits/char)", "x"}, {"a_b & 5 %", "<= 1.5 ± 0.1", "-"}, {"{~^\\}", "-0.5", "-"}}) ==
        "\\begin{tabular}{lrl}\n\\toprule\narm & test (bits/char) & x \\\\\n\\midrule\n"
        "a\\_b \\& 5 \\% & $\\le$ 1.5 $\\pm$ 0.1 & - \\\\\n\\{\\~{}\\^{}\\textbackslash{}\\} & -0.5 & - \\\\\n"
        "\\bottomrule\n\\end{tabular}\n");
}
