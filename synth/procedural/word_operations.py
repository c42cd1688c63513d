"""Operations on a list of words: to words, or to numbers."""

from functools import partial

from synth.procedural.operation import keep_codes, operation, replace_codes

_operation = partial(operation, takes="words", gives="words")

WORD_OPERATIONS = (
    _operation(
        "keep longer",
        "filter",
        (
            "Keep the words longer than {c} letters.",
            "Drop words of length {c} or less.",
            "Leave only words with more than {c} letters.",
        ),
        lambda a, c: [x for x in a if len(x) > c],
        keep_codes("len(x) > {c}"),
        "length",
        slip=(lambda a, c: [x for x in a if len(x) >= c], keep_codes("len(x) >= {c}")),
    ),
    _operation(
        "keep shorter",
        "filter",
        (
            "Keep the words shorter than {c} letters.",
            "Drop words of length {c} or more.",
            "Leave only words with fewer than {c} letters.",
        ),
        lambda a, c: [x for x in a if len(x) < c],
        keep_codes("len(x) < {c}"),
        "length",
        slip=(lambda a, c: [x for x in a if len(x) <= c], keep_codes("len(x) <= {c}")),
    ),
    _operation(
        "keep containing",
        "filter",
        (
            "Keep the words containing the letter {c}.",
            "Drop words without the letter {c}.",
            "Leave only words with the letter {c}.",
        ),
        lambda a, c: [x for x in a if c in x],
        keep_codes("'{c}' in x"),
        "letter",
        slip=(lambda a, c: [x for x in a if x.startswith(c)], keep_codes("x[0] == '{c}'")),
    ),
    _operation(
        "drop containing",
        "filter",
        (
            "Drop the words containing the letter {c}.",
            "Keep words without the letter {c}.",
            "Remove words with the letter {c}.",
        ),
        lambda a, c: [x for x in a if c not in x],
        keep_codes("'{c}' not in x"),
        "letter",
        slip=(lambda a, c: [x for x in a if not x.startswith(c)], keep_codes("x[0] != '{c}'")),
    ),
    _operation(
        "reverse each word",
        "map",
        ("Reverse each word.", "Spell every word backwards.", "Turn each word around."),
        lambda a, c: [x[::-1] for x in a],
        replace_codes("x[::-1]"),
        slip=(lambda a, c: a[::-1], ("{v} = {v}[::-1]", "{v}.reverse()", "{v} = list(reversed({v}))")),
    ),
    _operation(
        "upper case",
        "map",
        ("Convert to upper case.", "Write every word in capitals.", "Make all letters upper case."),
        lambda a, c: [x.upper() for x in a],
        replace_codes("x.upper()"),
        slip=(lambda a, c: [x.capitalize() for x in a], replace_codes("x.capitalize()")),
    ),
    _operation(
        "leading letters",
        "map",
        (
            "Shorten each word to its first {c} letters.",
            "Keep {c} leading letters of every word.",
            "Cut every word after {c} letters.",
        ),
        lambda a, c: [x[:c] for x in a],
        replace_codes("x[:{c}]"),
        "prefix",
        slip=(lambda a, c: [x[c:] for x in a], replace_codes("x[{c}:]")),
    ),
    _operation(
        "sort words",
        "order",
        ("Sort the words alphabetically.", "Arrange the words in dictionary order.", "Order the words from a to z."),
        lambda a, c: sorted(a),
        ("{v} = sorted({v})", "{v}.sort()", "{v} = sorted({v})"),
        slip=(
            lambda a, c: sorted(a, key=len),
            ("{v} = sorted({v}, key=len)", "{v}.sort(key=len)", "{v} = sorted({v}, key=len)"),
        ),
    ),
    _operation(
        "distinct words",
        "order",
        (
            "Remove repeated words, keeping first occurrences.",
            "Keep only the first copy of each word.",
            "Drop every word that was seen before.",
        ),
        lambda a, c: list(dict.fromkeys(a)),
        (
            "{v} = list(dict.fromkeys({v}))",
            "res = []\nfor x in {v}:\n    if x not in res:\n        res.append(x)\n{v} = res",
            "{v} = list(dict.fromkeys({v}))",
        ),
        slip=(lambda a, c: sorted(set(a)), ("{v} = sorted(set({v}))",) * 3),
    ),
    _operation(
        "reverse word order",
        "order",
        ("Reverse the order of the words.", "Read the words from right to left.", "Put the last word first and so on."),
        lambda a, c: a[::-1],
        ("{v} = {v}[::-1]", "{v}.reverse()", "{v} = list(reversed({v}))"),
        slip=(lambda a, c: [x[::-1] for x in a], replace_codes("x[::-1]")),
    ),
)

WORD_MEASURES = (
    _operation(
        "word lengths",
        "measure",
        ("Replace each word by its length.", "Take the lengths of the words.", "Count the letters of each word."),
        lambda a, c: [len(x) for x in a],
        (
            "{v} = [len(x) for x in {v}]",
            "res = []\nfor x in {v}:\n    res.append(len(x))\n{v} = res",
            "{v} = list(map(len, {v}))",
        ),
        gives="numbers",
        slip=(lambda a, c: [len(set(x)) for x in a], replace_codes("len(set(x))")),
    ),
    _operation(
        "letter counts",
        "measure",
        (
            "Replace each word by how often {c} occurs in it.",
            "Count the letter {c} in each word.",
            "Take the number of letters {c} in each word.",
        ),
        lambda a, c: [x.count(c) for x in a],
        replace_codes("x.count('{c}')"),
        "letter",
        gives="numbers",
        slip=(lambda a, c: [int(c in x) for x in a], replace_codes("int('{c}' in x)")),
    ),
    _operation(
        "distinct letter counts",
        "measure",
        (
            "Replace each word by its number of distinct letters.",
            "Count the different letters of each word.",
            "Take how many different letters each word has.",
        ),
        lambda a, c: [len(set(x)) for x in a],
        (
            "{v} = [len(set(x)) for x in {v}]",
            "res = []\nfor x in {v}:\n    res.append(len(set(x)))\n{v} = res",
            "{v} = list(map(lambda x: len(set(x)), {v}))",
        ),
        gives="numbers",
        slip=(lambda a, c: [len(x) for x in a], replace_codes("len(x)")),
    ),
)
