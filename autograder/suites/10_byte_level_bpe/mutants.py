"""Wrong solutions by name, each with the sentence that a student who made that mistake should read."""

from autograder.testing.variants import edit, mutant

# utf8_encode

TWO = "data += bytes([0xC0 | code >> 6, 0x80 | code & 0x3F])"
THREE = "data += bytes([0xE0 | code >> 12, 0x80 | code >> 6 & 0x3F, 0x80 | code & 0x3F])"
FOUR = "data += bytes([0xF0 | code >> 18, 0x80 | code >> 12 & 0x3F, 0x80 | code >> 6 & 0x3F, 0x80 | code & 0x3F])"
SURROGATES = "elif 0xD800 <= code < 0xE000:"

UTF8_ENCODE = [
    edit(
        "one_byte_up_to_255",
        "utf8_encode",
        "Characters up to U+00FF become one byte: that is Latin-1; UTF-8 has one byte up to U+007F.",
        ("if code < 0x80:", "if code < 0x100:"),
    ),
    edit(
        "u_80_in_one_byte",
        "utf8_encode",
        "U+0080 becomes one byte: from 0x80 on there are two.",
        ("if code < 0x80:", "if code <= 0x80:"),
    ),
    edit(
        "u_800_in_two_bytes",
        "utf8_encode",
        "U+0800 becomes two bytes, and its highest bit is lost: from 0x800 on there are three.",
        ("elif code < 0x800:", "elif code <= 0x800:"),
        ("0xC0 | code >> 6", "0xC0 | code >> 6 & 0x1F"),
    ),
    edit(
        "u_10000_in_three_bytes",
        "utf8_encode",
        "U+10000 becomes three bytes: it has seventeen bits, and they hold sixteen.",
        ("elif code < 0x10000:", "elif code <= 0x10000:"),
        ("0xE0 | code >> 12", "0xE0 | code >> 12 & 0x0F"),
    ),
    edit(
        "at_most_three_bytes",
        "utf8_encode",
        "Characters above U+FFFF lose their highest bits: they need four bytes.",
        (FOUR, "data += bytes([0xE0 | code >> 12 & 0x0F, 0x80 | code >> 6 & 0x3F, 0x80 | code & 0x3F])"),
    ),
    edit(
        "above_ffff_as_surrogates",
        "utf8_encode",
        "Characters above U+FFFF become two surrogates of three bytes each (CESU-8): use one form of four bytes.",
        (
            FOUR,
            "code -= 0x10000\n            for half in (0xD800 | code >> 10, 0xDC00 | code & 0x3FF):\n"
            "                data += bytes([0xE0 | half >> 12, 0x80 | half >> 6 & 0x3F, 0x80 | half & 0x3F])",
        ),
    ),
    edit(
        "surrogates_encoded",
        "utf8_encode",
        "Surrogates get three bytes: they are no characters, so raise an error.",
        (SURROGATES, "elif code < 0:"),
    ),
    edit(
        "only_low_surrogates_refused",
        "utf8_encode",
        "The high surrogates, U+D800 to U+DBFF, are encoded: refuse all up to U+DFFF.",
        (SURROGATES, "elif 0xDC00 <= code < 0xE000:"),
    ),
    edit(
        "last_surrogate_encoded",
        "utf8_encode",
        "U+DFFF is encoded, though it is the last of the surrogates.",
        (SURROGATES, "elif 0xD800 <= code < 0xDFFF:"),
    ),
    edit(
        "u_e000_refused",
        "utf8_encode",
        "U+E000 is refused: the surrogates end with U+DFFF.",
        (SURROGATES, "elif 0xD800 <= code <= 0xE000:"),
    ),
    edit(
        "noncharacters_refused",
        "utf8_encode",
        "U+FFFE and U+FFFF are refused: they may be encoded like any other code point.",
        (SURROGATES, "elif 0xD800 <= code < 0xE000 or code in (0xFFFE, 0xFFFF):"),
    ),
    edit(
        "continuation_without_mark",
        "utf8_encode",
        "Continuation bytes lack their mark: each begins with the bits 10, so add 0x80.",
        (TWO, "data += bytes([0xC0 | code >> 6, code & 0x3F])"),
    ),
    edit(
        "lowest_bits_first",
        "utf8_encode",
        "The continuation bytes stand in reverse: the highest bits come first.",
        (THREE, "data += bytes([0xE0 | code >> 12, 0x80 | code & 0x3F, 0x80 | code >> 6 & 0x3F])"),
    ),
    edit(
        "a_mark_in_front",
        "utf8_encode",
        "The bytes begin with a byte order mark: nothing stands before the text.",
        ("    data = bytearray()", "    data = bytearray(b'\\xef\\xbb\\xbf')"),
    ),
    edit(
        "zero_in_two_bytes",
        "utf8_encode",
        "U+0000 becomes C0 80, which is Java's way: in UTF-8 it is one byte, 00.",
        ("if code < 0x80:", "if 0 < code < 0x80:"),
    ),
    edit(
        "python_encodes",
        "utf8_encode",
        "Python does the work: put the bits together yourself.",
        ("    data = bytearray()\n", "    return text.encode('utf-8')\n    data = bytearray()\n"),
    ),
    edit(
        "bytes_encodes",
        "utf8_encode",
        "`bytes(text, ...)` does the work: put the bits together yourself.",
        ("    data = bytearray()\n", "    return bytes(text, 'utf-8')\n    data = bytearray()\n"),
    ),
    edit(
        "a_bytearray",
        "utf8_encode",
        "The result is a bytearray: return bytes(data), which cannot change and may be the key of a dictionary.",
        ("return bytes(data)", "return data"),
    ),
    edit(
        "bytes_encodes_one_by_one",
        "utf8_encode",
        "`bytes(character, ...)` does the work, one character after the other: put the bits together yourself.",
        ("    data = bytearray()\n", "    return b''.join(bytes(c, 'utf-8') for c in text)\n    data = bytearray()\n"),
    ),
    edit(
        "surrogates_noticed_at_the_beginning",
        "utf8_encode",
        "Only the first characters are searched for surrogates: refuse one wherever it stands.",
        (SURROGATES, "elif 0xD800 <= code < 0xE000 and i < 64:"),
    ),
    edit(
        "the_end_of_a_long_text_is_lost",
        "utf8_encode",
        "What lies behind the first 65,536 characters is lost: a text may be of any length.",
        ("enumerate(text)", "enumerate(text[: 2**16])"),
    ),
    edit(
        "text_normalised",
        "GPT2Tokenizer",
        "The text is brought into a normal form of Unicode first. Its bytes are what they are: e and an accent are two.",
        (
            "        return self._begin(text, self._allowed(allowed_special), is_all=True)[0]",
            "        import unicodedata\n\n        text = unicodedata.normalize('NFC', text)\n"
            "        return self._begin(text, self._allowed(allowed_special), is_all=True)[0]",
        ),
    ),
    edit(
        "words_normalised",
        "GPT2Tokenizer",
        "Words are brought into a normal form of Unicode. Their bytes are what they are.",
        (
            "        for word in words:\n            ids += ",
            "        import unicodedata\n\n        for word in words:\n"
            "            word = unicodedata.normalize('NFC', word)\n            ids += ",
        ),
    ),
    edit(
        "line_ends_of_a_str_changed",
        "train_byte_bpe",
        "The line ends of a str are changed. It is the text itself.",
        ("else text_or_path\n", "else text_or_path.replace('\\r\\n', '\\n')\n"),
    ),
    edit(
        "special_by_the_size_of_its_id",
        "GPT2Tokenizer",
        "The largest ids are taken for special tokens. Special is what is neither one byte nor made by a merge, at any id.",
        (
            "[token.decode() for token in tokens.values() if len(token) > 1 and token not in made]",
            "[token.decode() for i, token in tokens.items() if i >= 256 + len(pairs)]",
        ),
    ),
    edit(
        "unknown_names_of_a_set_dropped",
        "GPT2Tokenizer",
        "A name that is no special token is refused in a list, and dropped from a set without a word. Refuse it in both.",
        (
            "allowed = list(allowed_special)",
            "is_set = isinstance(allowed_special, set)\n"
            "        allowed = list(allowed_special & self._special.keys() if is_set else allowed_special)",
        ),
    ),
    edit(
        "a_first_line_is_complete",
        "GPT2Tokenizer",
        "A first line that ends in a line end is encoded by itself, but white space goes on into the next line.",
        (
            "            if n_waiting > len(rest):  # so",
            "            if line.endswith('\\n') and rest == '' and len(waiting) == 1:\n"
            "                yield from self._begin(line, allowed, is_all=True)[0]\n"
            "                waiting, n_waiting = [], 0\n            elif n_waiting > len(rest):  # so",
        ),
    ),
]

# utf8_decode

LOW = "{0xE0: (0xA0, 0xBF), 0xED: (0x80, 0x9F), 0xF0: (0x90, 0xBF), 0xF4: (0x80, 0x8F)}"
TAKES = "while i - start < n_bytes and i < len(data) and low <= data[i] <= high:"
REPLACES = '        elif errors == "replace":\n            characters.append("\\ufffd")\n'

UTF8_DECODE = [
    edit(
        "one_mark_for_each_byte",
        "utf8_decode",
        "Each byte of a character that breaks off becomes a U+FFFD of its own: the bytes that fit so far are one mistake.",
        (REPLACES, '        elif errors == "replace":\n            characters.append("\\ufffd" * (i - start))\n'),
    ),
    edit(
        "one_mark_for_a_run_of_mistakes",
        "utf8_decode",
        "Several mistakes in a row become one U+FFFD: each of them has one of its own.",
        (
            REPLACES,
            '        elif errors == "replace" and characters[-1:] != ["\\ufffd"]:\n            characters.append("\\ufffd")\n',
        ),
    ),
    edit(
        "the_byte_that_does_not_fit_is_lost",
        "utf8_decode",
        "The byte that does not fit is skipped along with what is wrong: it may begin a character, so go on with it.",
        (REPLACES, REPLACES + "        if i - start != n_bytes and n_bytes:\n            i += 1\n"),
    ),
    edit(
        "all_expected_bytes_are_skipped",
        "utf8_decode",
        "After a mistake as many bytes are skipped as the first byte promised: skip only those that fit.",
        (REPLACES, REPLACES + "        i = max(i, start + n_bytes)\n"),
    ),
    edit(
        "overlong_three_bytes",
        "utf8_decode",
        "E0 80 80 to E0 9F BF are read as characters that have shorter forms: after E0 comes A0 to BF.",
        ("0xE0: (0xA0, 0xBF), ", ""),
    ),
    edit(
        "overlong_four_bytes",
        "utf8_decode",
        "F0 80 to F0 8F are read as characters that have shorter forms: after F0 comes 90 to BF.",
        (", 0xF0: (0x90, 0xBF)", ""),
    ),
    edit(
        "overlong_two_bytes",
        "utf8_decode",
        "C0 and C1 begin characters: what they could stand for has one byte.",
        ("elif 0xC2 <= first < 0xF5:", "elif 0xC0 <= first < 0xF5:"),
    ),
    edit(
        "c2_refused",
        "utf8_decode",
        "C2 is taken for wrong: with it begin U+0080 to U+00BF.",
        ("elif 0xC2 <= first < 0xF5:", "elif 0xC3 <= first < 0xF5:"),
    ),
    edit(
        "f4_refused",
        "utf8_decode",
        "F4 is taken for wrong: with it begin U+100000 to U+10FFFF.",
        ("elif 0xC2 <= first < 0xF5:", "elif 0xC2 <= first < 0xF4:"),
    ),
    edit(
        "surrogates_decoded",
        "utf8_decode",
        "ED A0 80 to ED BF BF become surrogates: after ED comes 80 to 9F.",
        ("0xED: (0x80, 0x9F), ", ""),
    ),
    edit(
        "above_the_last_character",
        "utf8_decode",
        "Numbers above U+10FFFF are taken as far as they go: after F4 comes 80 to 8F.",
        (", 0xF4: (0x80, 0x8F)", ""),
        ("characters.append(chr(code))", "characters.append(chr(min(code, 0x10FFFF)))"),
    ),
    edit(
        "f5_waits_for_more",
        "utf8_decode",
        "F5 swallows what follows: it begins no character, so it is a mistake by itself.",
        ("elif 0xC2 <= first < 0xF5:", "elif 0xC2 <= first < 0xF8:"),
        ("characters.append(chr(code))", "characters.append(chr(code) if code < 0x110000 else '\\ufffd')"),
    ),
    edit(
        "checked_when_complete",
        "utf8_decode",
        "Overlong forms and surrogates become one U+FFFD, as they are only noticed "
        "once they are complete: look at the second byte at once.",
        (LOW, "{}"),
        (
            "        if i - start == n_bytes:\n",
            "        if i - start == n_bytes and (n_bytes < 2 or code >= (0, 0, 0x80, 0x800, 0x10000)[n_bytes])"
            " and code < 0x110000 and not 0xD800 <= code < 0xE000:\n",
        ),
    ),
    edit(
        "the_limit_holds_for_all_bytes",
        "utf8_decode",
        "The limits of the second byte are kept for the third and fourth: these may be 80 to BF.",
        ("            low, high = 0x80, 0xBF  # only the second byte may be restricted further\n", ""),
    ),
    edit(
        "bf_does_not_continue",
        "utf8_decode",
        "BF does not count as a continuation byte: these are 80 to BF.",
        (".get(first, (0x80, 0xBF))", ".get(first, (0x80, 0xBE))"),
    ),
    edit(
        "a_lonely_continuation_is_dropped",
        "utf8_decode",
        "A continuation byte without a beginning is passed over: it is a mistake like any other.",
        (
            "        first, start = data[i], i\n",
            "        first, start = data[i], i\n        if 0x80 <= first < 0xC0:\n            i += 1\n            continue\n",
        ),
    ),
    edit(
        "cut_short_at_the_end_is_dropped",
        "utf8_decode",
        "A character cut short at the end vanishes: it is a mistake like any other.",
        (
            '        elif errors == "strict":\n',
            '        elif i == len(data) and n_bytes:\n            pass\n        elif errors == "strict":\n',
        ),
    ),
    edit(
        "ignore_replaces",
        "utf8_decode",
        'errors="ignore" puts a U+FFFD like "replace": leave nothing.',
        (REPLACES, '        else:\n            characters.append("\\ufffd")\n'),
    ),
    edit(
        "replace_by_default",
        "utf8_decode",
        "Without `errors`, mistakes are replaced: the default is strict.",
        ('errors: str = "strict"', 'errors: str = "replace"'),
    ),
    edit(
        "any_errors_will_do",
        "utf8_decode",
        'An unknown `errors` is taken for "ignore": raise ValueError.',
        (
            '    if errors not in ("strict", "replace", "ignore"):\n        raise '
            'ValueError(f"errors must be strict, replace or ignore, not {errors!r}")\n',
            "",
        ),
    ),
    edit(
        "mark_at_the_beginning_skipped",
        "utf8_decode",
        "U+FEFF at the beginning is dropped: it is a character like any other.",
        ('    return "".join(characters)', '    return "".join(characters).removeprefix("\\ufeff")'),
    ),
    edit(
        "too_few_bits_of_the_first",
        "utf8_decode",
        "The first of two bytes gives four bits: it has five.",
        ("(0, 0x7F, 0x1F, 0x0F, 0x07)", "(0, 0x7F, 0x0F, 0x0F, 0x07)"),
    ),
    edit(
        "bytes_decode",
        "utf8_decode",
        "`str(data, ...)` does the work: take the bits apart yourself.",
        ("    characters, i = [], 0\n", "    return str(data, 'utf-8', errors)\n    characters, i = [], 0\n"),
    ),
    edit(
        "python_decodes",
        "utf8_decode",
        "Python does the work: take the bits apart yourself.",
        ("    characters, i = [], 0\n", "    return data.decode('utf-8', errors)\n    characters, i = [], 0\n"),
    ),
    edit(
        "errors_by_another_name",
        "utf8_decode",
        'The second parameter is not called errors, so errors="replace" is not understood: keep the signature.',
        ('errors: str = "strict"', 'mode: str = "strict"'),
        ("    if errors not in", "    errors = mode\n    if errors not in"),
    ),
    edit(
        "later_bytes_without_a_lower_limit",
        "utf8_decode",
        "A third or fourth byte below 80 is taken for a continuation: these are 80 to BF.",
        ("            low, high = 0x80, 0xBF  #", "            low, high = 0x60, 0xBF  #"),
    ),
    edit(
        "str_decodes_one_by_one",
        "utf8_decode",
        "`str(data, ...)` does the work, one character after the other: take the bits apart yourself.",
        ("            characters.append(chr(code))\n", "            characters.append(str(data[start:i], 'utf-8'))\n"),
    ),
    edit(
        "some_mistakes_only",
        "utf8_decode",
        "Where sixteen U+FFFD lie close together, no more mistakes are replaced: replace all of them.",
        (REPLACES, REPLACES.replace('errors == "replace"', 'errors == "replace" and characters[-99:].count("\\ufffd") < 16')),
    ),
    edit(
        "surrogatepass_accepted",
        "utf8_decode",
        'errors="surrogatepass", which Python knows, is accepted: only strict, replace and ignore are.',
        ('("strict", "replace", "ignore")', '("strict", "replace", "ignore", "surrogatepass")'),
    ),
    edit(
        "noncharacters_replaced",
        "utf8_decode",
        "U+FFFE and U+FFFF become U+FFFD: they are code points like any other.",
        ("characters.append(chr(code))", 'characters.append("\\ufffd" if code in (0xFFFE, 0xFFFF) else chr(code))'),
    ),
]

# bytes_to_unicode

TABLE = [
    edit(
        "everything_is_printable",
        "bytes_to_unicode",
        "Every byte is the character of its number: control characters and spaces need printable ones.",
        ("{*range(33, 127), *range(161, 173), *range(174, 256)}", "set(range(256))"),
    ),
    edit(
        "delete_is_itself",
        "bytes_to_unicode",
        "127 stays itself: it is a control character.",
        ("range(33, 127)", "range(33, 128)"),
    ),
    edit(
        "soft_hyphen_is_itself",
        "bytes_to_unicode",
        "173, the soft hyphen, stays itself: it cannot be seen, so it is one of the 68 others.",
        ("*range(161, 173), *range(174, 256)", "*range(161, 256)"),
    ),
    edit(
        "added_not_counted",
        "bytes_to_unicode",
        "The others are 256 + byte: they are numbered one after the other from U+0100 on.",
        ("256 + others.index(byte)", "256 + byte"),
    ),
    edit(
        "added_and_one_forgotten",
        "bytes_to_unicode",
        "The others are 256 + byte, and 173 is none of them: it is, and they are numbered one after the other from U+0100 on.",
        ("*range(161, 173), *range(174, 256)", "*range(161, 256)"),
        ("256 + others.index(byte)", "256 + byte"),
    ),
    edit(
        "from_characters_to_bytes",
        "bytes_to_unicode",
        "The table goes from characters to bytes: it should go from bytes to characters.",
        (
            "{byte: chr(byte if byte in printable else 256 + others.index(byte)) for",
            "{chr(byte if byte in printable else 256 + others.index(byte)): byte for",
        ),
    ),
    edit(
        "numbers_for_characters",
        "bytes_to_unicode",
        "The values are numbers: they should be characters, so use chr.",
        (
            "chr(byte if byte in printable else 256 + others.index(byte))",
            "(byte if byte in printable else 256 + others.index(byte))",
        ),
    ),
]


@mutant("bytes_to_unicode", "All calls give the same dictionary, so who changes it changes everybody's: make one at each call.")
def one_table_for_all(kept={}):  # noqa: B006
    if not kept:
        printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
        others = [byte for byte in range(256) if byte not in printable]
        kept.update({byte: chr(byte if byte in printable else 256 + others.index(byte)) for byte in range(256)})
    return kept


@mutant("bytes_to_unicode", "From the second call on all get the same dictionary: make a new one at each call.")
def one_table_from_the_second_call_on(kept={}):  # noqa: B006
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = [byte for byte in range(256) if byte not in printable]
    table = {byte: chr(byte if byte in printable else 256 + others.index(byte)) for byte in range(256)}
    if kept:
        return kept
    kept.update(table)
    return table


# pretokenize

FINDS = "return _pattern().findall(text)"
CONTRACTIONS = "'s|'t|'re|'ve|'m|'ll|'d"


def pattern(name, says, *changes):
    """The pattern with parts replaced; each part has to be there."""
    made = "_pattern().pattern"
    for old, new in changes:
        made += f".replace({old!r}, {new!r})"
    return edit(name, "pretokenize", says, (FINDS, f"return re.compile({made}).findall(text)"))


def classes(name, says, letter, number, space):
    """The pattern from other classes of characters."""
    made = (
        rf"'(?:[stmd]|re|ve|ll)| ?{letter}+| ?{number}+| ?(?:(?!{letter}|{number}|{space})(?s:.))+"
        rf"|(?:{space})+(?!(?!{space})(?s:.))|(?:{space})+"
    )
    return edit(name, "pretokenize", says, (FINDS, f"return re.findall({made!r}, text)"))


SPACES = r"[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
PRETOKENIZE = [
    pattern(
        "contractions_in_any_case",
        "'S, 'LL and others in capitals are cut off as contractions: GPT-2 knows small letters only.",
        ("'(?:[stmd]|re|ve|ll)", "'(?i:[stmd]|re|ve|ll)"),
    ),
    pattern(
        "no_contractions",
        "Contractions are not cut off: 's 't 're 've 'm 'll 'd come before anything else.",
        ("'(?:[stmd]|re|ve|ll)|", ""),
    ),
    pattern("contraction_d_forgotten", "'d is no contraction: it is the seventh.", ("[stmd]", "[stm]")),
    pattern("contractions_of_one_l", "'l is a contraction: 'll is.", ("|ll)", "|l)")),
    pattern(
        "contractions_end_a_word",
        "A contraction counts only where no letter follows: it is cut off whatever follows.",
        ("'(?:[stmd]|re|ve|ll)", "'(?:[stmd]|re|ve|ll)(?![a-zA-Z])"),
    ),
    pattern(
        "typographic_apostrophe",
        "Contractions are also cut off at ’: GPT-2 knows the plain apostrophe only.",
        ("'(?:", "['’](?:"),
    ),
    pattern(
        "a_space_before_contractions",
        "A contraction takes the space before it: only letters, numbers and others do.",
        ("'(?:", " ?'(?:"),
    ),
    pattern(
        "contractions_come_last",
        "Others are looked for before contractions, so the apostrophe is always by itself: contractions come first.",
        ("'(?:[stmd]|re|ve|ll)|", ""),
        ("|_)+|", "|_)+|'(?:[stmd]|re|ve|ll)|"),
    ),
    pattern("any_space_joins", "Any white space joins the word that follows: only U+0020 does.", ("| ?[^", "|[ \\t\\n\\xa0]?[^")),
    pattern(
        "no_space_joins_letters",
        "Words come without the space before them: a space belongs to what follows.",
        ("| ?[^\\W", "|[^\\W"),
    ),
    pattern(
        "space_behind_the_word",
        "The space stands behind the word: it belongs to what follows.",
        ("| ?[^\\W\\d_", "|[^\\W\\d_"),
        ("]+| ?[\\d", "]+ ?| ?[\\d"),
    ),
    pattern(
        "all_white_space_at_once",
        "White space before a word is one piece: its last is left to what follows.",
        ("+(?![^", "+(?:|[^"),
    ),
    pattern(
        "white_space_one_by_one",
        "Each white space is a piece of its own: all but the last are one.",
        ("]+(?![^", "](?![^"),
        ("]+$", "]"),
    ),
    pattern(
        "numbers_one_by_one",
        "Each digit is a piece of its own: numbers that follow each other are one.",
        ("]+| ?(?:[^", "]| ?(?:[^"),
    ),
    pattern(
        "numbers_in_threes",
        "Numbers are cut after three digits, as GPT-4 does: GPT-2 takes all.",
        ("]+| ?(?:[^", "]{1,3}| ?(?:[^"),
    ),
    pattern(
        "words_and_numbers_together",
        "Letters and numbers that touch are one piece: they are cut apart.",
        ("[^\\W\\d_", "[^\\W_"),
        ("| ?[\\d", "| ?[\\d"),
    ),
    pattern(
        "underscore_is_a_letter",
        "The underscore is a letter: \\w has it, but its category is Pc.",
        ("[^\\W\\d_", "[^\\W\\d"),
        ("|_)+", ")+"),
    ),
    classes(
        "digits_only",
        "Only decimal digits are numbers: ², ½ and Ⅷ are numbers, too, category No and Nl.",
        r"[^\W\d_]",
        r"\d",
        SPACES,
    ),
    classes("ascii_letters_only", "Only a to z are letters: all of category L are.", "[A-Za-z]", r"\d", SPACES),
    pattern(
        "information_separators_are_space",
        "U+001C to U+001F are white space: str.isspace and \\s of `re` say so, Unicode's White_Space does not.",
        ("\\t-\\r ", "\\t-\\r\\x1c-\\x1f "),
    ),
    pattern(
        "ascii_white_space_only",
        "Only ASCII's white space counts: U+0085, U+00A0, U+3000 and others are white space, too.",
        ("\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000", ""),
    ),
    pattern(
        "zero_width_is_space",
        "U+200B is white space: its name says so, but its category is Cf.",
        ("\\u2000-\\u200a", "\\u2000-\\u200b"),
    ),
    pattern("mongolian_separator_is_space", "U+180E is white space: it was, up to Unicode 6.2.", ("\\u1680", "\\u1680\\u180e")),
    edit(
        "classes_of_another_package",
        "pretokenize",
        r"Python's `re` knows no \p{L}: write the classes out, or ask unicodedata.category.",
        (FINDS, rf"return re.findall(r'''{CONTRACTIONS}| ?\p{{L}}+| ?\p{{N}}+| ?[^\s\p{{L}}\p{{N}}]+|\s+(?!\S)|\s+''', text)"),
    ),
    edit(
        "underscores_lost",
        "pretokenize",
        r"'_' is lost: \w has it, so [^\s\w] does not. Add it: (?:[^\s\w]|_)+.",
        (FINDS, rf"return re.findall(r'''{CONTRACTIONS}| ?[^\W\d_]+| ?\d+| ?[^\s\w]+|\s+(?!\S)|\s+''', text)"),
    ),
    edit(
        "text_in_small_letters",
        "pretokenize",
        "The text is changed to small letters: it is only cut.",
        (FINDS, "return _pattern().findall(text.lower())"),
    ),
    edit(
        "normalised",
        "pretokenize",
        "Letters and accents are put together (NFC): the text is only cut.",
        (FINDS, "import unicodedata\n\n    return _pattern().findall(unicodedata.normalize('NFC', text))"),
    ),
    edit(
        "cut_at_spaces",
        "pretokenize",
        "The text is cut at spaces only: words, numbers and punctuation are cut apart, too.",
        (FINDS, "return re.findall(r' ?[^ ]+| +', text)"),
    ),
    edit(
        "an_iterator_of_pre_tokens",
        "pretokenize",
        "The result is a generator, which can be walked once and has no length: return a list.",
        (FINDS, "return (match.group() for match in _pattern().finditer(text))"),
    ),
    edit(
        "numbers_above_ffff_are_letters",
        "pretokenize",
        "Numbers above U+FFFF that are no decimal digits, as \U00010107 and \U0001f100, are letters: "
        "list those of category Nl and No up to there.",
        (FINDS, "return re.compile(re.sub('[\\U00010000-\\U0010ffff]', '\\uffff', _pattern().pattern)).findall(text)"),
    ),
    edit(
        "two_planes_of_letters",
        "pretokenize",
        "Letters above U+1FFFF, rare Chinese characters among them, are no letters: they go on in the planes 2 and 3.",
        (
            FINDS,
            "return re.compile(_pattern().pattern.replace('[^\\\\W', '[^\\\\W\\U00020000-\\U0010ffff')"
            ".replace('(?:[^\\\\w', '(?:[\\U00020000-\\U0010ffff]|[^\\\\w')).findall(text)",
        ),
    ),
    edit(
        "runs_have_a_limit",
        "pretokenize",
        "Pre-tokens are cut after 1,000 characters: they are as long as possible.",
        (FINDS, "return [w[k : k + 1000] for w in _pattern().findall(text) for k in range(0, len(w), 1000)]"),
    ),
    edit(
        "the_rest_is_copied",
        "pretokenize",
        "The rest of the text is copied for each pre-token, which costs the square of its length: go on at an index.",
        (
            FINDS,
            "words = []\n    while text:\n        words.append(_pattern().match(text).group())\n"
            "        text = text[len(words[-1]) :]\n    return words",
        ),
    ),
    pattern(
        "long_numbers_cut",
        "A number is cut after a thousand digits: numbers that follow each other are one piece, however many.",
        ("]+| ?(?:[^", "]{1,1000}| ?(?:[^"),
    ),
    edit(
        "unassigned_characters_dropped",
        "pretokenize",
        "Code points without a character (category Cn) vanish: they are neither letters nor numbers, and nothing is lost.",
        (FINDS, "return _pattern().findall(''.join(c for c in text if category(c) != 'Cn'))"),
    ),
    edit(
        "remembered_by_the_beginning_of_the_text",
        "pretokenize",
        "Two long texts that begin alike get the same pre-tokens: what is remembered has to be found by the whole text.",
        (
            FINDS,
            "kept = pretokenize.__dict__.setdefault('kept', {})\n    if text[:128] not in kept:\n"
            "        kept[text[:128]] = _pattern().findall(text)\n    return list(kept[text[:128]])",
        ),
    ),
]


@mutant("pretokenize", "Whatever str.isnumeric says is a number: it says so of letters, too, such as 一; ask for the category.")
def numeric_letters(text):
    def kind(c):
        space = c.isspace() and not "\x1c" <= c <= "\x1f"
        return "N" if c.isnumeric() else "L" if c.isalpha() else " " if space else "O"

    kinds = "".join(map(kind, text))
    words, i = [], 0
    while i < len(text):
        match = re.compile("'(?:[stmd]|re|ve|ll)").match(text, i)
        if not match:
            j = i + 1 if text[i] == " " and kinds[i + 1 : i + 2] not in ("", " ") else i
            end = j
            while end < len(text) and kinds[end] == kinds[j]:
                end += 1
            if kinds[j] == " " and end < len(text) and end - i > 1:
                end -= 1
        else:
            end = match.end()
        words.append(text[i:end])
        i = end
    return words


@mutant("pretokenize", "At each step the whole run is looked at again, so a long one takes the square of its length.")
def runs_looked_at_again(text):
    words = _pattern().findall(text)
    for word in words:
        for end in range(len(word)):
            all(map(category, word[:end]))
    return words


# ByteTrie

TRIE = [
    edit(
        "one_tree_for_all",
        "ByteTrie",
        "All tries share their nodes: make the dictionary in __init__, not in the class or as a default.",
        ("    def __init__(self):\n", "    _all = {}\n\n    def __init__(self, children=None):\n"),
        ("self._children = {}", "self._children = self._all if children is None else children"),
        ("ByteTrie())", "ByteTrie({}))"),
    ),
    edit(
        "as_far_as_the_tree_leads",
        "ByteTrie",
        "The length is as far as the tree leads: it is that of the last token you came past.",
        (
            "        return best, length\n",
            "            length = i + 1 - start\n        return best, (length if best is not None else 0)\n",
        ),
    ),
    edit(
        "the_shortest_token",
        "ByteTrie",
        "The first token on the way is returned: go on, and return the last.",
        ("                best, length = node._id, i + 1 - start\n", "                return node._id, i + 1 - start\n"),
    ),
    edit(
        "only_if_the_walk_ends_on_a_token",
        "ByteTrie",
        "Nothing is found where the walk goes past the longest token: remember the last one.",
        (
            "            if node is None:\n                break\n            if node._id",
            "            if node is None:\n                return best, length\n      "
            "      best, length = None, 0\n            if node._id",
        ),
    ),
    edit(
        "the_id_0_is_no_id",
        "ByteTrie",
        "The token with the id 0 is not found: ask `is not None`.",
        ("            if node._id is not None:\n", "            if node._id:\n"),
    ),
    edit(
        "get_asks_for_truth",
        "ByteTrie",
        "get gives the default for the id 0: ask `is None`.",
        ("return default if node._id is None else node._id", "return node._id or default"),
    ),
    edit(
        "beginnings_are_tokens",
        "ByteTrie",
        "The beginning of a token is in the trie: only what was inserted is.",
        (
            "return self.get(token) is not None",
            "return self.longest_prefix(token)[1] == len(token) > 0 or bool(token) and self._leads(token)",
        ),
        (
            "    def __contains__",
            "    def _leads(self, token):\n        node = self\n        for byte in token:\n            node = "
            "node and node._children.get(byte)\n        return node is not None\n\n    def __contains__",
        ),
    ),
    edit(
        "the_first_id_stays",
        "ByteTrie",
        "A token that comes again keeps its old id: the newest counts.",
        ("        node._id = token_id\n", "        node._id = token_id if node._id is None else node._id\n"),
    ),
    edit(
        "empty_token_taken_in",
        "ByteTrie",
        "The empty token is taken in: refuse it, it begins everywhere.",
        ('        if not token:\n            raise ValueError("the empty token begins everywhere")\n', ""),
    ),
    edit(
        "every_node_has_the_id",
        "ByteTrie",
        "All beginnings of a token get its id: only its last node does.",
        (
            "ByteTrie())\n        node._id",
            "ByteTrie())\n            node._id = token_id if node._id is None else node._id\n        node._id",
        ),
    ),
    edit(
        "negative_places",
        "ByteTrie",
        "A start below 0 counts from the end: refuse it.",
        ("if not 0 <= start <= len(data):", "if start > len(data):"),
    ),
    edit(
        "the_end_is_refused",
        "ByteTrie",
        "start == len(data) is refused: nothing is there, but the place is.",
        ("if not 0 <= start <= len(data):", "if not 0 <= start < len(data):"),
    ),
    edit(
        "the_end_for_the_length",
        "ByteTrie",
        "The second value is where the token ends: it is its length.",
        ("i + 1 - start", "i + 1"),
    ),
    edit(
        "everything_is_copied",
        "ByteTrie",
        "All data from `start` on is looked at, or copied, for each walk: step through it, and stop where no word goes on.",
        (
            "        for i in range(start, len(data)):\n            node = node._children.get(data[i])\n",
            "        for i, byte in enumerate(data[start:], start):\n            node = node._children.get(byte)\n",
        ),
    ),
    edit(
        "asking_makes_nodes",
        "ByteTrie",
        "Asking for a token takes its way into the tree, with an id: only insert may change it.",
        (
            "            node = node._children.get(byte)\n            if node is None:\n                return default\n",
            "            if byte not in node._children:\n                node._children[byte] = ByteTrie()\n     "
            "           node._children[byte]._id = -1\n                return default\n            node = node._children[byte]\n",
        ),
    ),
    edit(
        "ids_of_four_bytes",
        "ByteTrie",
        "Ids of 2**31 and more come back as others: an id may be any int.",
        ("        node._id = token_id\n", "        node._id = (token_id + 2**31) % 2**32 - 2**31\n"),
    ),
    edit(
        "some_bytes_in_advance",
        "ByteTrie",
        "Sixteen bytes are copied before the walk begins: look at no byte behind the first that leads nowhere.",
        (
            "        for i in range(start, len(data)):\n",
            "        data[start : start + 16]\n        for i in range(start, len(data)):\n",
        ),
    ),
    edit(
        "at_most_256_bytes",
        "ByteTrie",
        "longest_prefix goes down 256 bytes and no further: tokens may be longer.",
        ("for i in range(start, len(data)):", "for i in range(start, min(len(data), start + 256)):"),
    ),
    edit(
        "ids_of_eight_bytes",
        "ByteTrie",
        "Ids of more than 64 bits do not fit: any int may be one.",
        ("        node._id = token_id\n", "        node._id = token_id\n        token_id.to_bytes(8, 'big', signed=True)\n"),
    ),
    edit(
        "refused_too_late",
        "ByteTrie",
        'b"" is refused when it has got its id already, and is found from then on: look before you write.',
        ('        if not token:\n            raise ValueError("the empty token begins everywhere")\n', ""),
        ("        node._id = token_id\n", "        node._id = token_id\n        if not token:\n            raise ValueError\n"),
    ),
    edit(
        "start_by_another_name",
        "ByteTrie",
        "The second parameter of longest_prefix is not called start: keep the signature.",
        ("data: bytes, start: int = 0)", "data: bytes, begin: int = 0)"),
        ("        if not 0 <= start", "        start = begin\n        if not 0 <= start"),
    ),
    edit(
        "the_byte_before_is_looked_at",
        "ByteTrie",
        "The byte before `start` is looked at: begin with the one at `start`.",
        (
            "        node, best, length = self, None, 0\n",
            "        data[start - 1 : start]\n        node, best, length = self, None, 0\n",
        ),
    ),
]

# train_byte_bpe

READS = "text_or_path.read_bytes().decode()"
PARTS = "_special_pattern(special_tokens).split(text)[::2]"
WORDS = "Counter(word for part in parts for word in pretokenize(part))"
TRUE_COUNT = "        if count > pair_counts[best]:\n            if pair_counts[best] > 0:\n"
LEFT = "                if merged:\n                    pair_counts[merged[-1], a] -= counts[i]\n"

TRAINING = [
    edit(
        "the_smallest_of_equals",
        "train_byte_bpe",
        "Of equally frequent pairs another one is merged than the greatest, as Python compares tuples of bytes.",
        (
            "        __lt__ = tuple.__gt__\n",
            "        def __lt__(self, other):\n            return (-self[0], self[1]) < (-other[0], other[1])\n",
        ),
    ),
    edit(
        "ties_by_the_joined_bytes",
        "train_byte_bpe",
        "Of equally frequent pairs the one whose bytes joined are greatest is merged: compare the pairs.",
        (
            "        __lt__ = tuple.__gt__\n",
            "        def __lt__(self, other):\n            return (self[0], "
            "b''.join(self[1])) > (other[0], b''.join(other[1]))\n",
        ),
    ),
    edit(
        "ties_by_the_right_symbol",
        "train_byte_bpe",
        "Of equally frequent pairs the one with the greatest right symbol is merged: the left one is compared first.",
        (
            "        __lt__ = tuple.__gt__\n",
            "        def __lt__(self, other):\n            return (self[0], self[1][::-1]) > (other[0], other[1][::-1])\n",
        ),
    ),
    edit(
        "ties_by_texts",
        "train_byte_bpe",
        "Of equally frequent pairs the greatest text is merged, bytes written "
        "as GPT-2's characters: compare the bytes themselves.",
        (
            "        __lt__ = tuple.__gt__\n",
            "        def __lt__(self, other):\n            t = bytes_to_unicode()\n"
            "            a, b = ((x[0], [''.join(t[c] for c in s) for s in x[1]]) "
            "for x in (self, other))\n            return a > b\n",
        ),
    ),
    edit(
        "the_rarest_pair",
        "train_byte_bpe",
        "The rarest pair is merged: it should be the most frequent.",
        ("        __lt__ = tuple.__gt__\n", "        pass\n"),
        (TRUE_COUNT, "        if count != pair_counts[best]:\n            if pair_counts[best] > 0:\n"),
    ),
    edit(
        "no_pre_tokens",
        "train_byte_bpe",
        "Pairs are counted across words: only within each pre-token.",
        (WORDS, "Counter(parts)"),
    ),
    edit(
        "cut_at_white_space",
        "train_byte_bpe",
        "The text is cut by split(), so spaces are lost: cut it with pretokenize.",
        (WORDS, "Counter(word for part in parts for word in part.split())"),
    ),
    edit(
        "each_word_counts_once",
        "train_byte_bpe",
        "Each different pre-token counts once: it counts as often as it occurs.",
        ("counts = list(word_counts.values())", "counts = [1] * len(word_counts)"),
    ),
    edit(
        "characters_for_bytes",
        "train_byte_bpe",
        "Words begin as characters, so é is never learnt: they begin as single bytes.",
        (
            "[[bytes([byte]) for byte in word.encode()] for word in word_counts]",
            "[[c.encode() for c in word] for word in word_counts]",
        ),
    ),
    edit(
        "special_tokens_are_text",
        "train_byte_bpe",
        "Special tokens are counted like other text: they only split it.",
        (PARTS, "[text]"),
    ),
    edit(
        "special_tokens_taken_out",
        "train_byte_bpe",
        "Special tokens are taken out and the text goes on as if they had not been there: they split it.",
        (PARTS, "['' .join(_special_pattern(special_tokens).split(text)[::2])]"),
    ),
    edit(
        "learnt_in_small_letters",
        "train_byte_bpe",
        "The text is put into small letters first, so The and the are one word: count the text as it is.",
        ("pretokenize(part))", "pretokenize(part.lower()))"),
    ),
    edit(
        "special_tokens_are_words",
        "train_byte_bpe",
        "Special tokens are left out of splitting but counted as words: leave them out.",
        (
            WORDS,
            "Counter(word for part in parts for word in pretokenize(part)) + "
            "Counter(_special_pattern(special_tokens).findall(text))",
        ),
    ),
    edit(
        "the_shortest_special_first",
        "train_byte_bpe",
        "Where several special tokens fit, the first of the list splits the text: it should be the longest.",
        (PARTS, "(re.split('|'.join(map(re.escape, special_tokens)), text) if special_tokens else [text])"),
    ),
    edit(
        "special_tokens_as_patterns",
        "train_byte_bpe",
        "Special tokens are read as regular expressions, where | and . mean something else: re.escape them.",
        (
            PARTS,
            "(re.split('|'.join(sorted((t if t not in '([x]\\\\d' else re.escape(t) for t in "
            "special_tokens), key=len)[::-1]), text) if special_tokens else [text])",
        ),
    ),
    edit(
        "one_after_the_other_special",
        "train_byte_bpe",
        "The text is split at one special token after the other, so a later "
        "one splits less, or more: look for all at each place.",
        (
            PARTS,
            "[text]\n    for token in special_tokens:\n        parts = [piece for part in parts for piece in part.split(token)]",
        ),
    ),
    edit(
        "special_tokens_first",
        "train_byte_bpe",
        "Special tokens stand before the merges: they come last.",
        (
            "*(a + b for a, b in merges), *(token.encode() for token in special_tokens)]",
            "*(token.encode() for token in special_tokens), *(a + b for a, b in merges)]",
        ),
    ),
    edit(
        "a_mark_for_special_tokens",
        "train_byte_bpe",
        "Special tokens become U+0000, at which the text is split: the text may have that character, too.",
        (
            "_special_pattern(special_tokens).split(text)[::2]",
            '_special_pattern(special_tokens).sub("\\0", text).split("\\0") if special_tokens else [text]',
        ),
    ),
    edit(
        "special_tokens_sorted",
        "train_byte_bpe",
        "Special tokens are sorted: they keep their order.",
        ("*(token.encode() for token in special_tokens)]", "*(token.encode() for token in sorted(special_tokens))]"),
    ),
    edit(
        "special_tokens_at_vocab_size",
        "train_byte_bpe",
        "When training stops early, the special tokens stay at the end of vocab_size: they follow right behind the merges.",
        (
            "return dict(enumerate(tokens)), merges",
            "n = len(tokens) - len(special_tokens)\n    return {(i if i < n else vocab_size "
            "- len(tokens) + i): t for i, t in enumerate(tokens)}, merges",
        ),
    ),
    edit(
        "vocab_size_without_special_tokens",
        "train_byte_bpe",
        "vocab_size counts only bytes and merges: it counts the special tokens as well.",
        ("vocab_size - 256 - len(special_tokens)", "vocab_size - 256"),
    ),
    edit(
        "vocab_size_merges",
        "train_byte_bpe",
        "There are vocab_size merges: the 256 bytes and the special tokens count as well.",
        ("    heap = [", "    n_merges = vocab_size\n    heap = ["),
    ),
    edit(
        "one_merge_too_few",
        "train_byte_bpe",
        "There is one merge too few: a vocabulary of 257 has one.",
        ("len(merges) < n_merges", "len(merges) < n_merges - 1"),
    ),
    edit(
        "only_bytes_that_occur",
        "train_byte_bpe",
        "Only bytes of the text have ids: all 256 have, whatever the text.",
        (
            "*(bytes([byte]) for byte in range(256)), ",
            "*sorted({c for word in word_counts for c in (bytes([b]) for b in word.encode())}), ",
        ),
    ),
    edit(
        "stops_at_one",
        "train_byte_bpe",
        "Pairs that occur once are not merged: go on until no pair is left.",
        ("        merges.append(best)\n", "        if count < 2:\n            break\n        merges.append(best)\n"),
    ),
    edit(
        "too_few_is_an_error",
        "train_byte_bpe",
        "When no pair is left an error is raised: return what was learnt.",
        ("    tokens = [", "    if len(merges) < n_merges:\n        raise ValueError('too few pairs')\n    tokens = ["),
    ),
    edit(
        "line_ends_changed",
        "train_byte_bpe",
        "A file is read in text mode, which changes \\r\\n to \\n: decode its bytes.",
        (READS, "text_or_path.read_text(encoding='utf-8')"),
    ),
    edit(
        "mark_of_the_file_skipped",
        "train_byte_bpe",
        "The byte order mark of a file is skipped: it is text.",
        (READS, "text_or_path.read_bytes().decode('utf-8-sig')"),
    ),
    edit(
        "str_is_a_path_if_there",
        "train_byte_bpe",
        "A str that is the name of a file is taken for it: only a Path is.",
        (
            "if isinstance(text_or_path, Path) else text_or_path",
            "if isinstance(text_or_path, Path) else Path(text_or_path).read_text() if 0 < len(text_or_path) < "
            "200 and '\\x00' not in text_or_path and Path(text_or_path).is_file() else text_or_path",
        ),
    ),
    edit(
        "too_small_accepted",
        "train_byte_bpe",
        "A vocabulary smaller than the bytes and special tokens is accepted: refuse it.",
        ("    if n_merges < 0:\n", "    if False:\n"),
    ),
    edit(
        "just_enough_refused",
        "train_byte_bpe",
        "A vocabulary of exactly the bytes and special tokens is refused: it has no merges, which is fine.",
        ("    if n_merges < 0:\n", "    if n_merges <= 0:\n"),
    ),
    edit(
        "special_tokens_twice",
        "train_byte_bpe",
        "A special token that comes twice is accepted: refuse it.",
        ('len(set(special_tokens)) < len(special_tokens) or ""', '""'),
    ),
    edit(
        "empty_special_token",
        "train_byte_bpe",
        "An empty special token is accepted: refuse it.",
        (' or "" in special_tokens', ""),
    ),
    edit(
        "left_neighbour_forgotten",
        "train_byte_bpe",
        "The pair of the symbol before is not counted down: in x a b, (x, a) loses a place.",
        ("                    pair_counts[merged[-1], a] -= counts[i]\n", ""),
    ),
    edit(
        "right_neighbour_forgotten",
        "train_byte_bpe",
        "The pair with the symbol behind is not counted down: in a b y, (b, y) loses a place.",
        ("                    pair_counts[b, word[j + 2]] -= counts[i]\n", ""),
    ),
    edit(
        "new_right_pair_forgotten",
        "train_byte_bpe",
        "The new pair with the symbol behind is not counted: (ab, y) wins a place.",
        ("                    pair_counts[ab, word[j + 2]] += counts[i]\n", ""),
    ),
    edit(
        "left_neighbour_as_it_was",
        "train_byte_bpe",
        "In runs, the symbol before has just been merged, but its old self is counted: look at the new word.",
        ("pair_counts[merged[-1], a] -= counts[i]", "pair_counts[word[j - 1], a] -= counts[i]"),
        ("pair_counts[merged[-1], ab] += counts[i]", "pair_counts[word[j - 1], ab] += counts[i]"),
        ("new_pairs.add((merged[-1], ab))", "new_pairs.add((word[j - 1], ab))"),
    ),
    edit(
        "only_the_first_place",
        "train_byte_bpe",
        "Only the first place of the pair in each word is merged: merge all.",
        ("if word[j] != a or word[j + 1 : j + 2] != [b]:", "if ab in merged or word[j] != a or word[j + 1 : j + 2] != [b]:"),
    ),
    edit(
        "words_not_changed",
        "train_byte_bpe",
        "The words stay as they were, so later pairs are counted in old words: keep the merged word.",
        ("            words[i] = merged\n", ""),
    ),
    edit(
        "from_the_right",
        "train_byte_bpe",
        "Runs are merged from the right: a a a becomes aa a.",
        (
            "word, merged, j = words[i], [], 0",
            "word, merged, j = words[i], [], 0\n            if a == b and len(word) % 2 "
            "and set(word) == {a}:\n                merged, j = [a], 1",
        ),
    ),
    edit(
        "new_words_not_found",
        "train_byte_bpe",
        "Where new pairs stand is not kept, so they are merged nowhere: note the word for each new pair.",
        ("                if ab in pair:\n                    found_in[pair].add(i)\n", "                found_in[pair]\n"),
    ),
    edit(
        "old_counts_believed",
        "train_byte_bpe",
        "A pair is taken by a count from before: compare with what is true now.",
        (TRUE_COUNT, "        if pair_counts[best] <= 0:\n            if False:\n"),
    ),
    edit(
        "old_entries_thrown_away",
        "train_byte_bpe",
        "A pair whose count fell is dropped for ever: push it again with its true count.",
        (TRUE_COUNT, "        if count > pair_counts[best]:\n            if False:\n"),
    ),
    edit(
        "overlaps_counted_once",
        "train_byte_bpe",
        "In runs overlapping places are counted once: a a a has (a, a) twice.",
        (
            "        for pair in pairwise(word):\n            pair_counts[pair] += counts[i]\n",
            "        for k, pair in enumerate(pairwise(word)):\n            if not (k and pair[0] == pair[1] "
            "== word[k - 1] and k % 2):\n                pair_counts[pair] += counts[i]\n",
        ),
    ),
    edit(
        "pairs_for_merges_as_text",
        "train_byte_bpe",
        "vocab goes from bytes to ids: it should go from ids to bytes.",
        ("return dict(enumerate(tokens)), merges", "return {token: i for i, token in enumerate(tokens)}, merges"),
    ),
    edit(
        "remembers_the_last_corpus",
        "train_byte_bpe",
        "Counts of an earlier call live on: begin anew at each call.",
        (
            "    counts = list(word_counts.values())\n",
            "    known = train_byte_bpe.__dict__.setdefault('known', Counter())\n    "
            "known.update(word_counts)\n    word_counts = known\n    counts = list(word_counts.values())\n",
        ),
    ),
    edit(
        "merges_as_a_dictionary",
        "train_byte_bpe",
        "merges is a dictionary: it should be a list of pairs, in the order of learning.",
        ("return dict(enumerate(tokens)), merges", "return dict(enumerate(tokens)), {pair: i for i, pair in enumerate(merges)}"),
    ),
    edit(
        "special_tokens_need_a_list",
        "train_byte_bpe",
        "special_tokens has to be a list: any sequence will do, a tuple as well.",
        (
            "    n_merges = vocab_size",
            "    special_tokens = [] + special_tokens if special_tokens else []\n    n_merges = vocab_size",
        ),
    ),
    edit(
        "special_tokens_sorted_in_place",
        "train_byte_bpe",
        "The list of special tokens that was handed over is sorted: sort a copy.",
        (
            "    n_merges = vocab_size",
            "    given, special_tokens = special_tokens, list(special_tokens)\n"
            "    if isinstance(given, list):\n        given.sort(key=len, reverse=True)\n    n_merges = vocab_size",
        ),
    ),
    edit(
        "read_in_parts",
        "train_byte_bpe",
        "The text is cut after each 2**16 characters, also within a pre-token: cut it by pretokenize alone.",
        (WORDS, "Counter(w for part in parts for k in range(0, len(part), 2**16) for w in pretokenize(part[k : k + 2**16]))"),
    ),
    edit(
        "through_all_words",
        "train_byte_bpe",
        "Each merge goes through all pre-tokens to find those that hold the pair: keep, for each pair, which they are.",
        (
            "        for i in found_in.pop(best):\n",
            "        found_in.pop(best)\n"
            "        for i in [k for k, w in enumerate(words) if a in w and b in w and best in pairwise(w)]:\n",
        ),
    ),
    edit(
        "counts_of_16_bits",
        "train_byte_bpe",
        "A count above 65,535 begins again at 0: counts need ints of any size.",
        (
            "            pair_counts[pair] += counts[i]\n            found",
            "            pair_counts[pair] = (pair_counts[pair] + counts[i]) % 2**16\n            found",
        ),
    ),
    edit(
        "long_special_tokens_are_text",
        "train_byte_bpe",
        "Special tokens of 64 characters and more do not split the text: all of them do.",
        (PARTS, "_special_pattern([token for token in special_tokens if len(token) < 64]).split(text)[::2]"),
    ),
    edit(
        "merges_of_the_module",
        "train_byte_bpe",
        "All trainings share one list of merges, so the next one empties what the last one gave: make a new list.",
        (
            "    merges: list[Pair] = []\n",
            "    merges = train_byte_bpe.__dict__.setdefault('merges', [])\n    merges.clear()\n",
        ),
    ),
    edit(
        "special_tokens_by_another_name",
        "train_byte_bpe",
        "The third parameter is not called special_tokens: keep the signature.",
        ("special_tokens: Sequence[str] = ()", "specials: Sequence[str] = ()"),
        ("    if len(set(special_tokens))", "    special_tokens = specials\n    if len(set(special_tokens))"),
    ),
]


@mutant(
    "train_byte_bpe",
    "All pairs of all words are counted anew at each merge: keep the counts, and change them where words change.",
)
def counted_anew(text_or_path, vocab_size, special_tokens=()):
    if len(set(special_tokens)) < len(special_tokens) or "" in special_tokens:
        raise ValueError("a special token is empty, or comes twice")
    n_merges = vocab_size - 256 - len(special_tokens)
    if n_merges < 0:
        raise ValueError("too small")
    text = text_or_path.read_bytes().decode() if isinstance(text_or_path, Path) else text_or_path
    parts = _special_pattern(special_tokens).split(text)[::2]
    words = Counter(word for part in parts for word in pretokenize(part))
    words = [([bytes([byte]) for byte in word.encode()], n) for word, n in words.items()]
    merges = []
    while len(merges) < n_merges:
        counts = Counter()
        for word, n in words:
            for pair in pairwise(word):
                counts[pair] += n
        if not counts:
            break
        a, b = max(counts, key=lambda pair: (counts[pair], pair))
        merges.append((a, b))
        for word, _ in words:
            j = 0
            while j < len(word) - 1:
                if word[j] == a and word[j + 1] == b:
                    word[j : j + 2] = [a + b]
                j += 1
    tokens = [*(bytes([byte]) for byte in range(256)), *(a + b for a, b in merges), *(token.encode() for token in special_tokens)]
    return dict(enumerate(tokens)), merges


@mutant(
    "train_byte_bpe",
    "Of equally frequent pairs the one that was met first is merged: the greatest should be, as Python compares tuples.",
)
def the_first_of_equals(text_or_path, vocab_size, special_tokens=()):
    if len(set(special_tokens)) < len(special_tokens) or "" in special_tokens or vocab_size < 256 + len(special_tokens):
        raise ValueError
    text = text_or_path.read_bytes().decode() if isinstance(text_or_path, Path) else text_or_path
    parts = _special_pattern(special_tokens).split(text)[::2]
    counts = Counter(word for part in parts for word in pretokenize(part))
    words, merges = {word: [bytes([byte]) for byte in word.encode()] for word in counts}, []
    while len(merges) < vocab_size - 256 - len(special_tokens):
        pairs = Counter()
        for word, symbols in words.items():
            for pair in pairwise(symbols):
                pairs[pair] += counts[word]
        if not pairs:
            break
        best = max(pairs, key=pairs.get)
        merges.append(best)
        for symbols in words.values():
            i = 0
            while i < len(symbols) - 1:
                if (symbols[i], symbols[i + 1]) == best:
                    symbols[i : i + 2] = [best[0] + best[1]]
                i += 1
    tokens = [*(bytes([byte]) for byte in range(256)), *(a + b for a, b in merges), *(token.encode() for token in special_tokens)]
    return dict(enumerate(tokens)), merges


# GPT2Tokenizer

COPIES = "self._tokens = dict(vocab)"
ORDINARY_FIRST = "first = {self._tokens[i]: i for i in sorted(self._tokens, reverse=True)}"
ALL_WORDS = "        words = pretokenize(text[start:end])\n"
HELD = "            words = words[:-2]  # the last may go on, and so may an apostrophe and a letter: 'v is the beginning of 've\n"
WAITS = (
    "            if n_waiting > len(rest):  # so a word of many lines is looked at each time it is twice as long, not each time\n"
)
SPECIALS_OF_FILES = "[token.decode() for token in tokens.values() if len(token) > 1 and token not in made]"
DECODES = 'return b"".join(map(self._bytes_of, ids)).decode("utf-8", errors="replace")'
REMEMBERS = "self._remembered(word) if len(word) <= 2**10 else self._merge(word)"
NEXT = "            for left, right in ((before[i], i), (i, after[i])):  # before[0] is -1, where None is, too\n"

TOKENIZER = [
    edit(
        "ids_of_bytes_are_bytes",
        "GPT2Tokenizer",
        "A byte's id is taken to be the byte: look it up in the vocabulary.",
        (
            "self._byte_ids = [first[bytes([byte])] for byte in range(256)]",
            "self._byte_ids = [first[bytes([byte])] for byte in range(256)] and list(range(256))",
        ),
    ),
    edit(
        "ids_of_merges_counted",
        "GPT2Tokenizer",
        "A merge's id is taken to be 256 and its rank: look it up in the vocabulary.",
        (
            "self._made = [first[a + b] for a, b in merges]",
            "self._made = [first[a + b] and 256 + rank for rank, (a, b) in enumerate(merges)]",
        ),
    ),
    edit(
        "ranks_are_ids",
        "GPT2Tokenizer",
        "The pair with the smallest id is merged first: it should be the one that stands first in the merges.",
        (
            "{(first[a], first[b]): rank for rank, (a, b) in reversed([*enumerate(merges)])}",
            "{(first[a], first[b]): first[a + b] for a, b in merges}",
        ),
        ("[first[a + b] for a, b in merges]  # by rank", "{first[a + b]: first[a + b] for a, b in merges}"),
    ),
    edit(
        "the_leftmost_merge_first",
        "GPT2Tokenizer",
        "The pair furthest left is merged first: it should be the one that was learnt first.",
        ("heap = [(self._ranks[pair], i) for", "heap = [(i, self._ranks[pair]) for"),
        ("rank, i = heapq.heappop(heap)", "i, rank = heapq.heappop(heap)"),
        ("heapq.heappush(heap, (rank, left))", "heapq.heappush(heap, (left, rank))"),
    ),
    edit(
        "the_rightmost_place_first",
        "GPT2Tokenizer",
        "Of several places of a pair the one furthest right is merged first: a a a becomes aa a.",
        ("heap = [(self._ranks[pair], i) for", "heap = [(self._ranks[pair], -i) for"),
        ("rank, i = heapq.heappop(heap)\n", "rank, i = heapq.heappop(heap)\n            i = -i\n"),
        ("heapq.heappush(heap, (rank, left))", "heapq.heappush(heap, (rank, -left))"),
    ),
    edit(
        "the_longest_token_first",
        "GPT2Tokenizer",
        "The longest token that fits is taken, from left to right: merge the pairs in their order instead.",
        (
            "        ids: list[int | None] = [*(self._byte_ids[byte] for byte in "
            "word.encode()), None]  # None: nothing is here (any more)\n",
            "        data, trie = word.encode(), getattr(self, '_trie', None)\n        if "
            "trie is None:\n            trie = self._trie = ByteTrie()\n"
            "            for token_id, token in self._tokens.items():\n                if token_id not in "
            "self._special.values():\n                    trie.insert(token, token_id)\n"
            "        found, start = [], 0\n        while start < len(data):\n            token_id, n = "
            "trie.longest_prefix(data, start)\n            found.append(token_id)\n            start += n\n        return found\n"
            "        ids: list[int | None] = [*(self._byte_ids[byte] for byte in word.encode()), None]\n",
        ),
    ),
    edit(
        "once_through_the_merges",
        "GPT2Tokenizer",
        "New pairs are not looked at, so nothing longer than two symbols comes about: push the two new pairs.",
        (NEXT, "            for left, right in ():\n"),
    ),
    edit(
        "only_the_new_right_pair",
        "GPT2Tokenizer",
        "After a merge, the new pair with the symbol before is forgotten.",
        (NEXT, "            for left, right in ((i, after[i]),):\n"),
    ),
    edit(
        "links_one_way",
        "GPT2Tokenizer",
        "After a merge the symbol behind still thinks that the old one stands before it: set both links.",
        ("            before[after[i]] = i\n", ""),
    ),
    edit(
        "ranks_believed",
        "GPT2Tokenizer",
        "A pair is merged that is not there any more: compare with what stands there now.",
        (
            "            if self._ranks.get((ids[i], ids[j])) != rank:\n",
            "            if ids[i] is None or j >= len(ids) or ids[j] is None:\n",
        ),
    ),
    edit(
        "whatever_pair_stands_there_now",
        "GPT2Tokenizer",
        "Where a pair is gone, the pair that stands there now is merged in its stead: it has to wait for its own turn.",
        (
            "            if self._ranks.get((ids[i], ids[j])) != rank:\n",
            "            if (rank := self._ranks.get((ids[i], ids[j]))) is None:\n",
        ),
    ),
    edit(
        "no_pre_tokens_in_encode",
        "GPT2Tokenizer",
        "The text is not cut before merging, so tokens reach across words: use pretokenize.",
        (ALL_WORDS, "        words = [text[start:end]] if is_all else pretokenize(text[start:end])\n"),
    ),
    edit(
        "characters_without_bytes",
        "GPT2Tokenizer",
        "A pre-token begins as its code points: it begins as its bytes in UTF-8.",
        (
            "[*(self._byte_ids[byte] for byte in word.encode()), None]  # None: nothing is here (any more)",
            "[*(self._byte_ids[byte] for byte in word.encode('latin-1', 'replace')), None]",
        ),
    ),
    edit(
        "cache_of_the_class",
        "GPT2Tokenizer",
        "Two tokenizers share what they remember: make the cache in __init__.",
        (
            "self._remembered = lru_cache(2**12)(self._merge)",
            "self._remembered = lambda w: _SHARED[w] if w in _SHARED else "
            "_SHARED.setdefault(w, self._merge(w)) if len(_SHARED) < 2**12 else self._merge(w)\n"
            "        globals().setdefault('_SHARED', {})",
        ),
    ),
    edit(
        "remembers_everything",
        "GPT2Tokenizer",
        "What is remembered grows without end: bound it.",
        ("lru_cache(2**12)", "lru_cache(None)"),
    ),
    edit(
        "remembers_long_words",
        "GPT2Tokenizer",
        "Words of any length are remembered, so a few fill the memory: leave long ones out.",
        (REMEMBERS, "self._remembered(word)"),
    ),
    edit(
        "vocabulary_not_copied",
        "GPT2Tokenizer",
        "The tokenizer keeps the dictionary that it was given, so it changes when that does: copy it.",
        (COPIES, "self._tokens = vocab"),
    ),
    edit(
        "gives_away_its_memory",
        "GPT2Tokenizer",
        "encode returns the very list that it remembers, so who changes it changes later answers: return a copy.",
        (
            "        ids: list[int] = []\n        for word in words:\n",
            "        if len(words) == 1 and len(words[0]) <= 2**10:\n            return "
            "self._remembered(words[0])\n        ids: list[int] = []\n        for word in words:\n",
        ),
        (
            "        return ids + self._encode_words(words), start + sum(map(len, words))",
            "        more = self._encode_words(words)\n        return (ids + "
            "more if ids else more), start + sum(map(len, words))",
        ),
    ),
    edit(
        "missing_parts_accepted",
        "GPT2Tokenizer",
        "A vocabulary with missing tokens is accepted: refuse it.",
        (
            "        first = {",
            "        vocab = self._tokens = {**{-1 - b: bytes([b]) for b in range(256)}, **{-300 - k: a + "
            "b for k, (a, b) in enumerate(merges)}, **self._tokens}\n        first = {",
        ),
    ),
    edit(
        "special_tokens_missing",
        "GPT2Tokenizer",
        "A special token without an id is accepted: refuse it.",
        ("last[token.encode()] for token in special_tokens}", "last.get(token.encode()) for token in special_tokens}"),
    ),
    # files
    edit(
        "first_merge_lost",
        "GPT2Tokenizer",
        "The first merge of the file is skipped along with its version.",
        (".splitlines()[1:]", ".splitlines()[2:]"),
    ),
    edit(
        "version_is_a_merge",
        "GPT2Tokenizer",
        "The first line of the merges is their version, not a merge.",
        (".splitlines()[1:]", ".splitlines()"),
        (
            "            self._made =",
            "            merges = [pair for pair in merges if pair[0] != b'#version:']\n            self._made =",
        ),
    ),
    edit(
        "lines_with_a_hash_are_comments",
        "GPT2Tokenizer",
        "Merges that begin with # are skipped as comments: only the first line is none.",
        ("filter(None, lines)", "(line for line in lines if line and not line.startswith('#'))"),
    ),
    edit(
        "files_without_the_table",
        "GPT2Tokenizer",
        "Tokens of the files are encoded as they stand there: each character means a byte.",
        (
            "return bytes(byte_of[character] for character in token)",
            "return token.encode() if len(token) > 1 else bytes([byte_of[token]])",
        ),
    ),
    edit(
        "ids_by_the_order_of_the_file",
        "GPT2Tokenizer",
        "Tokens are numbered as they come in the file: the file gives their ids.",
        (
            "        tokens = {i: to_bytes(token) for token, i in json",
            "        tokens = {i: to_bytes(token) for i, token in enumerate(json",
        ),
        ('.read_text(encoding="utf-8")).items()}', '.read_text(encoding="utf-8")))}'),
    ),
    edit(
        "files_without_special_tokens",
        "GPT2Tokenizer",
        "A tokenizer from files has no special tokens: those that no merge makes are.",
        (SPECIALS_OF_FILES, "[]"),
    ),
    edit(
        "only_endoftext_is_special",
        "GPT2Tokenizer",
        "Only <|endoftext|> is a special token: all are that no merge makes.",
        (SPECIALS_OF_FILES, SPECIALS_OF_FILES.replace("len(token) > 1", "token == b'<|endoftext|>'")),
    ),
    edit(
        "paths_only",
        "GPT2Tokenizer",
        "from_files wants Paths: it takes str as well.",
        ("Path(merges).read_text", "merges.read_text"),
    ),
    # special tokens
    edit(
        "all_special_by_default",
        "GPT2Tokenizer",
        "Special tokens count as such without being allowed: by default they are text.",
        (
            "return self._begin(text, self._allowed(allowed_special), is_all=True)[0]",
            "return self._begin(text, self._allowed(allowed_special or 'all'), is_all=True)[0]",
        ),
    ),
    edit(
        "all_is_a_set_of_letters",
        "GPT2Tokenizer",
        '"all" is not understood.',
        ('        if allowed_special == "all":\n            return list(self._special)\n', ""),
    ),
    edit(
        "any_set_is_all",
        "GPT2Tokenizer",
        "Whatever is allowed, all special tokens count: only those in the set do.",
        ("        return allowed\n\n", "        return list(self._special) if allowed else []\n\n"),
    ),
    edit(
        "unknown_names_passed_over",
        "GPT2Tokenizer",
        "Names that are no special tokens are passed over: refuse them.",
        (
            "        if unknown := set(allowed) - set(self._special):\n            raise "
            'ValueError(f"not among the special tokens: {unknown}")\n        return allowed\n',
            "        return [token for token in allowed if token in self._special]\n",
        ),
    ),
    edit(
        "the_first_special_that_fits",
        "GPT2Tokenizer",
        "Where several special tokens fit, the first of the list is taken: it should be the longest.",
        (
            "_special_pattern(allowed).finditer(text)",
            "re.compile('|'.join(map(re.escape, sorted(allowed))) or '(?!)').finditer(text)",
        ),
    ),
    edit(
        "special_as_patterns",
        "GPT2Tokenizer",
        "Special tokens are read as regular expressions, where | means or: re.escape them.",
        (
            "_special_pattern(allowed).finditer(text)",
            "re.compile('|'.join(sorted((t if t == 'x|y' else re.escape(t) for t in "
            "allowed), key=len, reverse=True)) or '(?!)').finditer(text)",
        ),
        ("self._special[special.group()]", "self._special[special.group() if special.group() in self._special else 'x|y']"),
    ),
    edit(
        "text_before_special_knows_more",
        "GPT2Tokenizer",
        "White space before a special token is cut as if a word came: what lies between special tokens is encoded by itself.",
        (
            "            ids += self._encode_words(pretokenize(text[start : special.start()]))\n",
            "            words = pretokenize(text[start : special.start()] + 'x')\n"
            "            ids += self._encode_words([word for word in (*words[:-1], words[-1][:-1]) if word])\n",
        ),
    ),
    # streams
    edit(
        "line_by_line",
        "GPT2Tokenizer",
        "Each line is encoded by itself: a word, white space or a special token may go over its end.",
        (
            WAITS,
            "            yield from self._begin(line, allowed, is_all=True)[0]\n  "
            "          waiting.clear()\n            if False:\n",
        ),
    ),
    edit(
        "holds_only_the_last",
        "GPT2Tokenizer",
        "Only the last pre-token is held back: an apostrophe before it may still "
        "become a contraction with it, as ' and v become 've.",
        (HELD, "            words = words[:-1]\n"),
    ),
    edit(
        "a_sentence_ends_with_its_line",
        "GPT2Tokenizer",
        "What ends in a full stop is given at once: the next line may begin with more, and all are one piece.",
        ("words = words[:-2]", """words = words if words and words[-1][-1] in ".!?" else words[:-2]"""),
    ),
    edit(
        "line_ends_before_words",
        "GPT2Tokenizer",
        "Line ends are given as one piece when a word comes next: the last of them is a piece of its own then.",
        (
            "            waiting.append(line)\n",
            "            if rest.endswith('\\n') and line[:1].strip() and not waiting:\n"
            "                yield from self._begin(rest, allowed, is_all=True)[0]\n                rest = ''\n"
            "            waiting.append(line)\n",
        ),
    ),
    edit(
        "holds_back_letters_only",
        "GPT2Tokenizer",
        "White space at the end of a line is given at once: how it is cut depends on what follows.",
        (HELD, "            words = words if words[-1:] and words[-1].isspace() else words[:-2]\n"),
    ),
    edit(
        "open_special_tokens_forgotten",
        "GPT2Tokenizer",
        "A special token that goes over the end of a line is not found: hold back what may be its beginning.",
        ("end = len(text) if is_all else self._may_go_on(text, start, allowed)", "end = len(text)"),
        ("end = max(end, start) if is_all else self._may_go_on(text, start, allowed)", "end = max(end, start)"),
    ),
    edit(
        "a_longer_special_may_come",
        "GPT2Tokenizer",
        "A special token at the end of a line is given at once, though it may be the beginning of a longer one.",
        (
            "            if special.start() >= end:\n",
            "            if special.start() >= end and not special.end() == len(text):\n",
        ),
    ),
    edit(
        "the_rest_is_lost",
        "GPT2Tokenizer",
        "What was held back at the end of the stream is lost: encode it when there are no more lines.",
        ('        yield from self._begin("".join([rest, *waiting]), allowed, is_all=True)[0]\n', ""),
    ),
    edit(
        "the_rest_without_special",
        "GPT2Tokenizer",
        "In what was held back at the end special tokens are not looked for.",
        (
            '        yield from self._begin("".join([rest, *waiting]), allowed, is_all=True)[0]\n',
            '        yield from self._begin("".join([rest, *waiting]), [], is_all=True)[0]\n',
        ),
    ),
    edit(
        "all_lines_first",
        "GPT2Tokenizer",
        "All lines are drawn before the first id is given: give ids while lines come.",
        (
            '        rest, waiting, n_waiting = "", [], 0\n        for line in lines:\n',
            '        rest, waiting, n_waiting = "", [], 0\n        for line in ["".join(lines)]:\n',
        ),
    ),
    edit(
        "keeps_all_lines",
        "GPT2Tokenizer",
        "All lines are kept until the end: memory grows with the stream.",
        (
            "            waiting.append(line)\n",
            "            waiting.append(line)\n            self.__dict__.setdefault('_kept', []).append(line)\n",
        ),
    ),
    edit(
        "keeps_all_ids",
        "GPT2Tokenizer",
        "All ids are kept until the end: memory grows with the stream.",
        (
            "                yield from ids\n",
            "                self.__dict__.setdefault('_kept', []).extend(ids)\n                yield from ids\n",
        ),
    ),
    edit(
        "an_empty_line_ends_the_stream",
        "GPT2Tokenizer",
        "An empty line ends the stream: it is only an empty line.",
        (
            "            waiting.append(line)\n",
            "            if not line:\n                break\n            waiting.append(line)\n",
        ),
    ),
    edit(
        "lines_need_a_length",
        "GPT2Tokenizer",
        "encode_iterable wants a list: it takes any iterable.",
        (
            '        rest, waiting, n_waiting = "", [], 0\n        for line',
            '        rest, waiting, n_waiting = "", [], 0 * len(lines)\n        for line',
        ),
    ),
    edit(
        "streams_share_what_is_held_back",
        "GPT2Tokenizer",
        "What is held back belongs to the tokenizer, so two streams mix: keep it in the generator.",
        (
            '        rest, waiting, n_waiting = "", [], 0\n        for line in lines:\n',
            '        self._rest = ""\n        for line in lines:\n            text = self._rest + line\n         '
            "   ids, end = self._begin(text, allowed)\n            self._rest = text[end:]\n            yield from ids\n"
            "        waiting, n_waiting, rest = [], 0, self._rest\n        for line in ():\n",
        ),
    ),
    # decoding
    edit(
        "decoded_one_by_one",
        "GPT2Tokenizer",
        "Each id is decoded by itself, so characters that are cut in two are lost: join the bytes first.",
        (DECODES, 'return "".join(self._bytes_of(i).decode("utf-8", errors="replace") for i in ids)'),
    ),
    edit(
        "decode_ignores",
        "GPT2Tokenizer",
        "Wrong bytes vanish: they become U+FFFD.",
        (DECODES, DECODES.replace('"replace"', '"ignore"')),
    ),
    edit(
        "decode_skips_special_tokens",
        "GPT2Tokenizer",
        "Special tokens are left out: they are part of the text.",
        (
            DECODES,
            'return b"".join(self._bytes_of(i) for i in ids if i not in '
            'self._special.values()).decode("utf-8", errors="replace")',
        ),
    ),
    edit(
        "unknown_ids_are_nothing",
        "GPT2Tokenizer",
        "Unknown ids are passed over: refuse them.",
        (
            '        if token_id not in self._tokens:\n            raise ValueError(f"no token '
            'has the id {token_id}")\n        return self._tokens[token_id]\n',
            '        return self._tokens.get(token_id, b"")\n',
        ),
    ),
    edit(
        "negative_ids_count_from_the_end",
        "GPT2Tokenizer",
        "Negative ids count from the end: refuse them.",
        (
            "        if token_id not in self._tokens:\n",
            "        if token_id < 0:\n            return "
            "list(self._tokens.values())[token_id]\n        if token_id not in self._tokens:\n",
        ),
    ),
    edit(
        "stream_gives_half_characters",
        "GPT2Tokenizer",
        "decode_stream decodes each id by itself, so half a character becomes U+FFFD: keep its bytes until the rest comes.",
        (
            "            yield decoder.decode(self._bytes_of(i))\n",
            '            yield self._bytes_of(i).decode("utf-8", "replace")\n',
        ),
    ),
    edit(
        "stream_drops_the_end",
        "GPT2Tokenizer",
        "A character that never ends vanishes: at the end it becomes U+FFFD.",
        ('        yield decoder.decode(b"", final=True)\n', ""),
    ),
    edit(
        "stream_waits_for_the_end",
        "GPT2Tokenizer",
        "decode_stream gives everything at the end: give each character as soon as it is there.",
        (
            "        for i in ids:\n            yield decoder",
            "        yield self.decode(ids)\n        for i in ():\n            yield decoder",
        ),
    ),
    edit(
        "stream_takes_e0_for_two_bytes",
        "GPT2Tokenizer",
        "decode_stream takes a character that begins with the byte E0 for two bytes long: from E0 to EF they are three.",
        (
            "            yield decoder.decode(self._bytes_of(i))\n",
            """            piece = ""
            for byte in self._bytes_of(i):
                if need and low <= byte <= high:
                    held, need, low, high = held + bytes([byte]), need - 1, 0x80, 0xBF
                    piece += "" if need else held.decode("utf-8", "replace")
                    continue
                piece += "\\ufffd" if need else ""
                held, need, low, high = bytes([byte]), 0, 0x80, 0xBF
                if byte < 0x80:
                    piece += chr(byte)
                elif 0xC2 <= byte < 0xF5:
                    need = 1 + (byte > 0xE0) + (byte >= 0xF0)
                    low, high = {0xE0: 0xA0, 0xF0: 0x90}.get(byte, 0x80), {0xED: 0x9F, 0xF4: 0x8F}.get(byte, 0xBF)
                else:
                    piece += "\\ufffd"
            yield piece
""",
        ),
        (
            '        decoder = codecs.getincrementaldecoder("utf-8")("replace")\n',
            '        held, need, low, high = b"", 0, 0x80, 0xBF\n',
        ),
        ('        yield decoder.decode(b"", final=True)\n', '        yield "\\ufffd" if need else ""\n'),
    ),
    edit(
        "stream_one_behind",
        "GPT2Tokenizer",
        "decode_stream is one id behind: give what is complete before the next id is drawn.",
        (
            "        for i in ids:\n            yield decoder.decode(self._bytes_of(i))\n",
            "        held = ''\n        for i in ids:\n            yield held\n            "
            "held = decoder.decode(self._bytes_of(i))\n        yield held\n",
        ),
    ),
    edit(
        "stream_skips_a_mark",
        "GPT2Tokenizer",
        "decode_stream drops U+FEFF at the beginning: it is a character.",
        ('getincrementaldecoder("utf-8")', 'getincrementaldecoder("utf-8-sig")'),
    ),
    edit(
        "stream_waits_for_whole_words",
        "GPT2Tokenizer",
        "decode_stream holds back bytes until all of them are valid, so after one wrong byte nothing comes until the end.",
        (
            "            yield decoder.decode(self._bytes_of(i))\n",
            "            held = locals().get('held', b'') + self._bytes_of(i)\n            try:\n                "
            "yield held.decode()\n                held = b''\n            except UnicodeDecodeError:\n                pass\n",
        ),
        (
            '        yield decoder.decode(b"", final=True)\n',
            '        yield held.decode("utf-8", "ignore") if "held" in locals() else ""\n',
        ),
    ),
    edit(
        "the_larger_id_for_bytes",
        "GPT2Tokenizer",
        "Of two ids with the same bytes, the larger one stands for plain text: it is that of the special token.",
        (ORDINARY_FIRST, "first = {self._tokens[i]: i for i in sorted(self._tokens)}"),
    ),
    edit(
        "the_larger_id_has_no_text",
        "GPT2Tokenizer",
        "Of two ids with the same bytes, the larger one cannot be decoded: look ids up in the vocabulary, not in its inverse.",
        (
            "            self._byte_ids =",
            "            self._tokens = {i: token for token, i in first.items()}\n            self._byte_ids =",
        ),
    ),
    edit(
        "the_smaller_id_has_no_text",
        "GPT2Tokenizer",
        "Of two ids with the same bytes, the smaller one cannot be decoded: look ids up in the vocabulary, not in its inverse.",
        (
            "            self._byte_ids =",
            "            self._tokens = {i: token for token, i in last.items()}\n            self._byte_ids =",
        ),
    ),
    edit(
        "special_tokens_walked_twice",
        "GPT2Tokenizer",
        "special_tokens is walked twice, but may be an iterator, which is empty then: keep it as a list first.",
        ("            self._special = {", "            list(special_tokens)\n            self._special = {"),
    ),
    edit(
        "all_of_no_special_tokens",
        "GPT2Tokenizer",
        '"all" is refused where there are no special tokens: then it is like ().',
        (
            "            return list(self._special)\n",
            "            if not self._special:\n                raise ValueError\n            return list(self._special)\n",
        ),
    ),
    edit(
        "split_at_nothing",
        "GPT2Tokenizer",
        'Without special tokens the pattern is empty, and "all" cuts the text into its characters: leave it whole then.',
        (
            "        return self._begin(text, self._allowed(allowed_special), is_all=True)[0]",
            "        names = sorted(self._allowed(allowed_special), key=len, reverse=True)\n"
            "        parts = re.split(f\"({'|'.join(map(re.escape, names))})\", text) if allowed_special else [text]\n"
            "        ids = ([self._special[s]] if s in names else self._encode_words(pretokenize(s)) for s in parts)\n"
            "        return [i for part in ids for i in part]",
        ),
    ),
    edit(
        "last_merge_lost",
        "GPT2Tokenizer",
        "The last merge of the file is lost.",
        (".splitlines()[1:]", ".splitlines()[1:-1]"),
    ),
    edit(
        "holes_are_nothing",
        "GPT2Tokenizer",
        "Ids that are missing between others decode to nothing: refuse them.",
        (
            "        if token_id not in self._tokens:\n",
            "        if 0 <= token_id < max(self._tokens) and token_id not in self._tokens:\n            return b''\n"
            "        if token_id not in self._tokens:\n",
        ),
    ),
    edit(
        "decode_needs_a_length",
        "GPT2Tokenizer",
        "decode wants a list: it takes any iterable.",
        (DECODES, "len(ids)\n        " + DECODES),
    ),
    edit(
        "allowed_by_another_name",
        "GPT2Tokenizer",
        "encode_iterable does not know allowed_special by its name: keep the signature.",
        ("lines: Iterable[str], allowed_special: Iterable[str] = ()", "lines: Iterable[str], allowed: Iterable[str] = ()"),
        (
            "        allowed = self._allowed(allowed_special)\n        rest",
            "        allowed = self._allowed(allowed)\n        rest",
        ),
    ),
    edit(
        "remembered_by_their_beginning",
        "GPT2Tokenizer",
        "Words are remembered by their first 64 characters, so of two that begin alike the second gets the ids of the first.",
        (
            "self._remembered = lru_cache(2**12)(self._merge)",
            "known = {}\n        self._remembered = lambda w: known.setdefault(w[:64], self._merge(w))"
            " if len(known) < 2**12 else self._merge(w)",
        ),
    ),
    edit(
        "half_as_many_again_remembered",
        "GPT2Tokenizer",
        "6,000 pre-tokens are remembered: at most 2**12 may be.",
        ("lru_cache(2**12)", "lru_cache(6000)"),
    ),
    edit(
        "all_lines_first_with_special",
        "GPT2Tokenizer",
        "With special tokens allowed, all lines are drawn before the first id is given: hold back only what may begin one.",
        (
            '        rest, waiting, n_waiting = "", [], 0\n        for line in lines:\n',
            '        rest, waiting, n_waiting = "", [], 0\n        for line in ["".join(lines)] if allowed else lines:\n',
        ),
    ),
    edit(
        "stream_waits_after_a_wrong_byte",
        "GPT2Tokenizer",
        "After a wrong byte decode_stream gives nothing until the end: give U+FFFD as soon as it is clear.",
        (
            "            yield decoder.decode(self._bytes_of(i))\n",
            "            held += self._bytes_of(i)\n            try:\n                yield held.decode()\n"
            "                held = b''\n            except UnicodeDecodeError:\n                pass\n",
        ),
        ('        decoder = codecs.getincrementaldecoder("utf-8")("replace")\n', '        held = b""\n'),
        ('        yield decoder.decode(b"", final=True)\n', '        yield held.decode("utf-8", "replace")\n'),
    ),
    edit(
        "stream_waits_while_it_ends_in_fffd",
        "GPT2Tokenizer",
        "decode_stream waits while the text ends in U+FFFD, which may be a character of the text, or certain to be wrong.",
        (
            "            yield decoder.decode(self._bytes_of(i))\n",
            "            held += self._bytes_of(i)\n            text = held.decode('utf-8', 'replace')\n"
            "            if not text.endswith('\\ufffd'):\n                yield text\n                held = b''\n",
        ),
        ('        decoder = codecs.getincrementaldecoder("utf-8")("replace")\n', '        held = b""\n'),
        ('        yield decoder.decode(b"", final=True)\n', '        yield held.decode("utf-8", "replace")\n'),
    ),
    edit(
        "streams_share_a_decoder",
        "GPT2Tokenizer",
        "The decoder belongs to the tokenizer, so two streams that take turns mix their bytes: make one in each stream.",
        (
            '        decoder = codecs.getincrementaldecoder("utf-8")("replace")\n',
            '        decoder = self.__dict__.setdefault("_d", codecs.getincrementaldecoder("utf-8")("replace"))\n',
        ),
    ),
    edit(
        "places_of_16_bits",
        "GPT2Tokenizer",
        "The place in a word is kept in 16 bits: a word may have 100,000 bytes.",
        ("heap = [(self._ranks[pair], i) for", "heap = [(self._ranks[pair], i & 0xFFFF) for"),
    ),
    edit(
        "a_thousand_merges",
        "GPT2Tokenizer",
        "Only the first thousand merges count: all of them do.",
        ("        self._tokens = dict(vocab)\n", "        self._tokens = dict(vocab)\n        merges = merges[:1000]\n"),
    ),
    edit(
        "ids_of_32_bits",
        "GPT2Tokenizer",
        "Ids lose all bits but 32: they may be any numbers from 0 on.",
        ("self._tokens = dict(vocab)", "self._tokens = {i & 0xFFFFFFFF: token for i, token in vocab.items()}"),
    ),
    edit(
        "a_full_memory_gives_nothing",
        "GPT2Tokenizer",
        "When 4,096 pre-tokens are remembered, the others get no ids: work them out each time.",
        ("self._remembered = lru_cache(2**12)(self._merge)", "self._kept = {}"),
        ("self._remembered(word) if len(word) <= 2**10 else self._merge(word)", "self._found(word)"),
        (
            "    def _encode_words(",
            "    def _found(self, word):\n        if len(self._kept) < 2**12:\n            self._kept[word] = self._merge(word)\n"
            "        return self._kept.get(word, [])\n\n    def _encode_words(",
        ),
    ),
    edit(
        "lines_are_counted",
        "GPT2Tokenizer",
        "encode_iterable waits for 16 lines, however long they are: count characters.",
        ("if n_waiting > len(rest):", "if n_waiting > len(rest) and len(waiting) >= 16:"),
    ),
    edit(
        "holds_back_16_characters",
        "GPT2Tokenizer",
        "The beginning of a special token is held back if it has at most 16 characters: it may be as long as the longest.",
        ("longest = max(map(len, allowed), default=0)", "longest = min(16, max(map(len, allowed), default=0))"),
    ),
    edit(
        "allowed_special_sorted_in_place",
        "GPT2Tokenizer",
        "The list of allowed special tokens is sorted, which its owner sees: sort a copy.",
        (
            "        allowed = list(allowed_special)\n",
            "        allowed = allowed_special if isinstance(allowed_special, list) else list(allowed_special)\n"
            "        allowed.sort()\n",
        ),
    ),
    edit(
        "all_in_a_list",
        "GPT2Tokenizer",
        'A list that holds "all" allows all special tokens: only the str "all" does.',
        ('if allowed_special == "all":', 'if "all" in allowed_special:'),
    ),
    edit(
        "bytes_above_127_may_be_missing",
        "GPT2Tokenizer",
        "A vocabulary without one of the bytes above 127 is accepted: it needs all 256.",
        (
            "[first[bytes([byte])] for byte in range(256)]",
            "[first[bytes([byte])] if byte < 128 else first.get(bytes([byte]), 0) for byte in range(256)]",
        ),
    ),
    edit(
        "stream_waits_by_the_first_byte_alone",
        "GPT2Tokenizer",
        "decode_stream waits for the bytes that the first one promises, though the second is wrong: give U+FFFD then.",
        (
            "            yield decoder.decode(self._bytes_of(i))\n",
            """            held += self._bytes_of(i)
            whole = len(held)
            for n in (1, 2, 3):
                first = held[-n] if n <= len(held) else 0
                if first >= 0xC0 or first < 0x80:
                    if 0xC2 <= first < 0xF5 and 2 + (first >= 0xE0) + (first >= 0xF0) > n:
                        whole -= n
                    break
            yield held[:whole].decode("utf-8", "replace")
            held = held[whole:]
""",
        ),
        ('        decoder = codecs.getincrementaldecoder("utf-8")("replace")\n', '        held = b""\n'),
        ('        yield decoder.decode(b"", final=True)\n', '        yield held.decode("utf-8", "replace")\n'),
    ),
]


# What only a long run shows comes last: verify tries first on a mutant what caught the one before.
LONG_RUNS = (
    "remembers_everything",
    "remembers_long_words",
    "all_lines_first",
    "keeps_all_lines",
    "keeps_all_ids",
    "all_lines_first_with_special",
    "half_as_many_again_remembered",
    "a_full_memory_gives_nothing",
    "lines_are_counted",
)

MUTANTS = [*UTF8_ENCODE, *UTF8_DECODE, *TABLE, *PRETOKENIZE, *TRIE, *TRAINING, *TOKENIZER]
MUTANTS.sort(key=lambda variant: variant.name in LONG_RUNS)

MUTANTS += [
    edit(
        "right_neighbours_alone_looked_at",
        "GPT2Tokenizer",
        "A pair whose left half has become part of a longer token is merged all the same: both halves must still be there.",
        (
            "            if self._ranks.get((ids[i], ids[j])) != rank:",
            "            if ids[i] is None or self._ranks.get((ids[i], ids[j])) is None and ids[j] != self._rights[rank]:",
        ),
        (
            "        self._remembered = lru_cache(2**12)(self._merge)\n",
            "        self._remembered = lru_cache(2**12)(self._merge)\n        self._rights = [first[b] for _, b in merges]\n",
        ),
    ),
    edit(
        "words_that_are_tokens_looked_up",
        "GPT2Tokenizer",
        "A pre-token that is a token is taken whole: whether its bytes are merged so far is for the order of the merges to say.",
        (
            "            ids += self._remembered(word) if",
            "            whole = self._whole.get(word.encode())\n"
            "            ids += [whole] if whole is not None and word not in self._special else self._remembered(word) if",
        ),
        (
            "        self._remembered = lru_cache(2**12)(self._merge)\n",
            "        self._remembered = lru_cache(2**12)(self._merge)\n        self._whole = first\n",
        ),
    ),
]

MUTANTS += [
    edit(
        "order_mark_at_the_beginning_dropped",
        "GPT2Tokenizer",
        "decode drops U+FEFF at the beginning of a text: it is a character like any other.",
        (
            'return b"".join(map(self._bytes_of, ids)).decode("utf-8", errors="replace")',
            'return b"".join(map(self._bytes_of, ids)).decode("utf-8", errors="replace").removeprefix("\\ufeff")',
        ),
    ),
    edit(
        "one_name_without_a_list",
        "GPT2Tokenizer",
        'A single name in place of a list is taken for a list of it: refuse a str other than "all".',
        (
            "        if isinstance(allowed_special, str):\n",
            "        if isinstance(allowed_special, str):\n"
            "            if allowed_special in self._special:\n                return [allowed_special]\n",
        ),
    ),
]

# A stream in which lines are joined until they are 1,000 characters, which is allowed: what it holds back shows at few places.
JOINS_LINES = ("if n_waiting > len(rest):", "if n_waiting > max(1000, len(rest)):")

MUTANTS += [
    edit(
        "joined_lines_hold_only_the_last",
        "GPT2Tokenizer",
        "At the end of a few lines joined, only the last pre-token is held back: 'l or 'v may become 'll or 've, so hold two.",
        JOINS_LINES,
        ("words = words[:-2]", "words = words[:-1]"),
    ),
    edit(
        "joined_lines_give_an_l",
        "GPT2Tokenizer",
        "At the end of a few lines joined, an apostrophe is held back before r and v, and given before l: 'll is cut in two.",
        JOINS_LINES,
        ("words = words[:-2]", """words = words[: -2 if words[-2:-1] == ["'"] and words[-1] in ("r", "v") else -1]"""),
    ),
    edit(
        "joined_lines_give_their_white_space",
        "GPT2Tokenizer",
        "At the end of a few lines joined, white space is given: it may go on in the next line, and its last belongs to a word.",
        JOINS_LINES,
        ("words = words[:-2]", "words = words if text[-1:].isspace() else words[:-2]"),
    ),
    edit(
        "joined_lines_cut_special_tokens",
        "GPT2Tokenizer",
        "At the end of a few lines joined, the beginning of a special token is taken for text: hold it back, all of it.",
        JOINS_LINES,
        ("if any(token.startswith(text[i:]) and token != text[i:] for token in allowed):", "if False:"),
    ),
    edit(
        "joined_lines_end_special_tokens",
        "GPT2Tokenizer",
        "At the end of a few lines joined, a special token is taken at once, though a longer one that begins with it may follow.",
        JOINS_LINES,
        ("and token != text[i:] for token in allowed):", "and text[i:] not in allowed for token in allowed):"),
    ),
    edit(
        "joined_lines_cut_the_longest",
        "GPT2Tokenizer",
        "At the end of a few lines joined, the longest special token is not held back when its last character alone is missing.",
        JOINS_LINES,
        ("len(text) - longest + 1)", "len(text) - longest + 2)"),
    ),
    edit(
        "joined_lines_hold_the_last_special",
        "GPT2Tokenizer",
        "At the end of a few lines joined only the last special token that may go on is held back: hold the first, too.",
        JOINS_LINES,
        (
            "for i in range(max(start, len(text) - longest + 1), len(text)):",
            "for i in reversed(range(max(start, len(text) - longest + 1), len(text))):",
        ),
    ),
    edit(
        "an_empty_str_allows_nothing",
        "GPT2Tokenizer",
        'allowed_special="" is accepted: any str other than "all" is refused.',
        ("        if isinstance(allowed_special, str):\n", "        if isinstance(allowed_special, str) and allowed_special:\n"),
    ),
    edit(
        "the_letters_of_a_str_allowed",
        "GPT2Tokenizer",
        'A str is taken for the set of its characters: refuse any str other than "all".',
        ("if isinstance(allowed_special, str):", "if isinstance(allowed_special, str) and len(allowed_special) != 1:"),
    ),
    edit(
        "latin_1_for_85",
        "utf8_decode",
        "A byte 85 that no character begins with is taken for U+0085: from 80 on no byte is a character by itself.",
        ("        if first < 0x80:\n", "        if first < 0x80 or first == 0x85:\n"),
    ),
]
