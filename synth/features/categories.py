"""The categories of the feature tree, those of X-Coder (arXiv 2601.06953, Table 8), and what each holds."""

CATEGORIES = {
    "algorithm": "named algorithms, techniques and pieces of mathematics that a solution uses",
    "data structure": "how data is held while the solution runs",
    "problem type": "what kind of task it is, seen by someone who does not know the solution",
    "implementation logic": "how the program is put together: control flow, state, input and output, edge cases",
    "complexity": "running time, memory, their analysis, and the sizes of input that they allow",
    "optimization": "what makes a working solution faster or smaller",
}
