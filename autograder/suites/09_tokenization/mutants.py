"""Named mistakes: each must fail in its exercise, and each says what a student who made it should read."""

from autograder.testing.variants import edit, mutant

# What a deletion does in the solution, and the lines of it that many mistakes replace.
TAKEN_OUT = "        self._entries[place] = None\n        self._n_free += 1\n"
PUT_AGAIN = (
    "        while self._entries[place] is not None:\n"
    "            entry, self._entries[place] = self._entries[place], None\n"
    "            self._put(entry)\n"
    "            place = (place + 1) % len(self._entries)\n        ### END"
)
MATCHES = "            if entry[0] == hashed and (entry[1] is key or entry[1] == key):\n"
GROWS = "        if 3 * self._n_free < len(self._entries):\n            self._grow()\n"
MARKED = "        self._entries[place] = (None, None, None)\n        self._n_free += 1\n        return\n"
NEW_ENTRY = "        self._entries[place] = (hash(key), key, value)\n        self._n_free -= 1\n"

MUTANTS = [
    # HashMap
    edit(
        "a_hole_where_something_was_deleted",
        "HashMap",
        "A deletion leaves a free place, and searches that have to pass it stop there: put the entries behind it in again, "
        "or leave a mark.",
        (PUT_AGAIN, "        ### END"),
    ),
    edit(
        "only_the_next_entry_is_put_again",
        "HashMap",
        "After a deletion only the next entry is moved: all entries up to the next free place may have come past it.",
        (PUT_AGAIN, PUT_AGAIN.replace("        while ", "        if ")),
    ),
    edit(
        "the_place_of_the_last_key",
        "HashMap",
        "The last key's place is kept, but entries move when the list grows or one is deleted: search anew each time.",
        ("        return place\n", "        self._last = key, place\n        return place\n"),
        (
            "        hashed = hash(key)\n        place = self._home(hashed)\n        while",
            "        last, place = getattr(self, '_last', (self, 0))\n"
            "        if last is key and place < len(self._entries) and self._entries[place] is not None:\n"
            "            return place\n"
            "        hashed = hash(key)\n        place = self._home(hashed)\n        while",
        ),
    ),
    edit(
        "everybody_moves_back_by_one",
        "HashMap",
        "After a deletion every entry behind it moves back by one, also those that then lie before the place where their "
        "search begins.",
        (
            PUT_AGAIN,
            "        while self._entries[place] is not None:\n"
            "            self._entries[place - 1], self._entries[place] = self._entries[place], None\n"
            "            place = (place + 1) % len(self._entries)\n        ### END",
        ),
    ),
    edit(
        "marks_are_never_cleared",
        "HashMap",
        "Marks of deleted entries are walked over for ever: count them when you decide to grow, and leave them out then.",
        (TAKEN_OUT, MARKED),
        ("for entry in self._entries if entry is not None)", "for entry in self._entries if entry and entry[0] is not None)"),
        ("return (hashed * 0x9E", "return ((hashed or 0) * 0x9E"),
        (
            "        if 3 * self._n_free < len(self._entries):\n",
            "        if 3 * self._n_free < len(self._entries) or self._entries.count(None) < 3:\n",
        ),
    ),
    edit(
        "marks_make_the_list_grow",
        "HashMap",
        "Entries that were deleted count for ever when you decide to grow, so the list grows with all that ever was: "
        "leave marks out when entries move, and count anew.",
        ("        self._n_free = len(self._entries)\n", "        self._n_free, self._n_ever = len(self._entries), 0\n"),
        (NEW_ENTRY, NEW_ENTRY + "        self._n_ever += 1\n"),
        (GROWS, GROWS.replace("3 * self._n_free <", "3 * self._n_ever > 2 *")),
    ),
    edit(
        "marks_reused_before_the_key_was_looked_for",
        "HashMap",
        "A key is put on the first mark on its way although it lies further on, and is there twice: look to the end first.",
        (TAKEN_OUT, MARKED),
        ("for entry in self._entries if entry is not None)", "for entry in self._entries if entry and entry[0] is not None)"),
        (
            "        place = self._find(key)\n        if self._entries[place] is not None:\n            hashed, key, _",
            "        place = self._home(hash(key))\n"
            "        while (entry := self._entries[place]) is not None and entry[0] is not None:\n"
            "            if entry[1] is key or entry[1] == key:\n                break\n"
            "            place = (place + 1) % len(self._entries)\n"
            "        if self._entries[place] is not None and self._entries[place][0] is not None:\n            hashed, key, _",
        ),
        (
            "            if entry is not None:\n                self._put(entry)",
            "            if entry and entry[0] is not None:\n                self._put(entry)",
        ),
    ),
    edit(
        "marks_still_counted_when_they_are_gone",
        "HashMap",
        "Marks are left out when the entries move, and still counted, so every further entry moves all others again: count anew.",
        (
            TAKEN_OUT,
            "        self._entries[place] = (None, None, None)\n        self._n_free += 1\n"
            "        self._n_marks += 1\n        return\n",
        ),
        ("        self._n_free = len(self._entries)\n", "        self._n_free, self._n_marks = len(self._entries), 0\n"),
        ("for entry in self._entries if entry is not None)", "for entry in self._entries if entry and entry[0] is not None)"),
        (GROWS, GROWS.replace("self._n_free <", "(self._n_free - self._n_marks) <")),
        ("[None] * (2 * len(entries))", "[None] * (len(entries) * (2 if 2 * self._n_free < len(entries) else 1))"),
        (
            "            if entry is not None:\n                self._put(entry)",
            "            if entry and entry[0] is not None:\n                self._put(entry)",
        ),
    ),
    edit(
        "a_fixed_number_of_places",
        "HashMap",
        "The list never grows: put all entries into a longer one before it is full.",
        ("[None] * 8", "[None] * 1024"),
        (GROWS, ""),
    ),
    edit(
        "moved_without_looking_for_their_places",
        "HashMap",
        "When the list grows the entries stay at their old indices: where a search begins depends on the "
        "length, so put each in anew.",
        (
            "        self._entries = [None] * (2 * len(entries))\n",
            "        self._entries = entries + [None] * len(entries)\n        self._n_free += len(entries)\n        return\n",
        ),
    ),
    edit(
        "grows_by_eight_places",
        "HashMap",
        "The list grows by a fixed number of places, so moving all entries happens far too often: double it.",
        ("[None] * (2 * len(entries))", "[None] * (len(entries) + 8)"),
    ),
    edit(
        "the_first_entry_is_lost_when_growing",
        "HashMap",
        "When the list grows, one of its places is not moved: walk over all of them.",
        (
            "        for entry in entries:\n            if entry is not None:\n",
            "        for entry in entries[1:]:\n            if entry is not None:\n",
        ),
    ),
    edit(
        "always_begins_in_the_first_eight",
        "HashMap",
        "A search always begins in one of the first eight places, however long the list is: take the hash modulo its length.",
        (">> 32) % len(self._entries)", ">> 32) % 8"),
    ),
    edit(
        "always_begins_at_the_front",
        "HashMap",
        "Every search begins at the front, so it looks at half of all entries: begin where the hash says.",
        ("return (hashed * 0x9E3779B97F4A7C15 >> 32) % len(self._entries)", "return 0"),
    ),
    edit(
        "equal_hashes_are_equal_keys",
        "HashMap",
        "Two keys of the same hash are taken for the same key: compare the keys, too.",
        (MATCHES, "            if entry[0] == hashed:\n"),
    ),
    edit(
        "only_the_very_object",
        "HashMap",
        "A key is found only by the very same object: keys that are equal are the same key.",
        (MATCHES, "            if entry[1] is key:\n"),
    ),
    edit(
        "never_the_very_object",
        "HashMap",
        "A key that is not equal to itself, NaN, is never found again: as in dict, the very same object is the same key.",
        (MATCHES, "            if entry[0] == hashed and entry[1] == key:\n"),
    ),
    edit(
        "types_have_to_agree",
        "HashMap",
        "1, 1.0 and True are different keys: they are equal and have the same hash, so they are one.",
        (
            MATCHES,
            "            if entry[0] == hashed and type(entry[1]) is type(key) and (entry[1] is key or entry[1] == key):\n",
        ),
    ),
    edit(
        "keys_compared_as_texts",
        "HashMap",
        "Keys are compared by their texts: 1 and '1' are different keys, and 1 and 1.0 are the same.",
        ("        hashed = hash(key)\n", "        hashed = hash(str(key))\n"),
        (MATCHES, "            if str(entry[1]) == str(key):\n"),
        ("(hash(key), key, value)", "(hash(str(key)), key, value)"),
    ),
    edit(
        "hash_of_the_address",
        "HashMap",
        "The search begins where the key's id says: keys that are equal have the same hash, but not the same id.",
        ("        hashed = hash(key)\n", "        hashed = id(key)\n"),
        ("(hash(key), key, value)", "(id(key), key, value)"),
    ),
    edit(
        "the_key_none_is_a_free_place",
        "HashMap",
        "A place whose key is None counts as free: None is a key like others, so mark free places with something else.",
        (
            "while (entry := self._entries[place]) is not None:",
            "while (entry := self._entries[place]) is not None and entry[1] is not None:",
        ),
    ),
    edit(
        "falsy_keys_are_free_places",
        "HashMap",
        "A place whose key is 0, False or empty counts as free: ask `is None`, not whether it is true.",
        ("while (entry := self._entries[place]) is not None:", "while (entry := self._entries[place]) and entry[1]:"),
    ),
    edit(
        "no_way_round_the_end",
        "HashMap",
        "A search that comes to the end of the list falls off: go on at the front.",
        (
            "                break\n            place = (place + 1) % len(self._entries)",
            "                break\n            place = place + 1",
        ),
    ),
    edit(
        "the_newest_key_replaces_the_first",
        "HashMap",
        "A new value replaces the key as well: 1 has to stay 1 when True is assigned.",
        (
            "            hashed, key, _ = self._entries[place]  # the key stays the one that came first\n",
            "            hashed = hash(key)\n",
        ),
    ),
    edit(
        "the_first_value_stays",
        "HashMap",
        "Assigning to a key that is there changes nothing: the new value replaces the old one.",
        ("            self._entries[place] = (hashed, key, value)\n", ""),
    ),
    edit(
        "assigning_again_counts_again",
        "HashMap",
        "len grows when a key that is there gets a new value: count new keys only.",
        (
            "            self._entries[place] = (hashed, key, value)\n",
            "            self._entries[place] = (hashed, key, value)\n            self._n_free -= 1\n",
        ),
    ),
    edit(
        "deletions_are_not_counted",
        "HashMap",
        "len stays when an entry is deleted: count down.",
        (TAKEN_OUT, "        self._entries[place] = None\n"),
    ),
    edit(
        "len_of_the_list",
        "HashMap",
        "len is the number of places: it is the number of entries.",
        ("        return len(self._entries) - self._n_free\n", "        return len(self._entries)\n"),
    ),
    edit(
        "nobody_gets_none",
        "HashMap",
        "map[key] gives None for an absent key: raise KeyError.",
        ("            raise KeyError(key)\n        return entry[2]", "            return None\n        return entry[2]"),
    ),
    edit(
        "absent_keys_are_value_errors",
        "HashMap",
        "An absent key raises ValueError: dict, and everybody who uses it, says KeyError.",
        (
            "            raise KeyError(key)\n        return entry[2]",
            "            raise ValueError(key)\n        return entry[2]",
        ),
    ),
    edit(
        "deleting_nothing_is_fine",
        "HashMap",
        "del map[key] says nothing where there is no such key: raise KeyError.",
        (
            "            raise KeyError(key)\n        self._entries[place] = None",
            "            return\n        self._entries[place] = None",
        ),
    ),
    edit(
        "counted_down_before_looking",
        "HashMap",
        "A deletion that fails has counted down already: look first.",
        ("[None] * 8", "[None] * 4096"),
        (
            "        if self._entries[place] is None:\n            raise KeyError(key)\n" + TAKEN_OUT,
            "        self._n_free += 1\n        if self._entries[place] is None:\n"
            "            raise KeyError(key)\n        self._entries[place] = None\n",
        ),
    ),
    edit(
        "get_of_a_falsy_value",
        "HashMap",
        "get gives the default where the value is None, 0 or empty: the default is for keys that are not there.",
        ("return default if entry is None else entry[2]", "return (entry[2] if entry else None) or default"),
    ),
    edit(
        "get_forgets_the_default",
        "HashMap",
        "get gives None for an absent key, whatever the default.",
        ("return default if entry is None else entry[2]", "return None if entry is None else entry[2]"),
    ),
    edit(
        "default_by_another_name",
        "HashMap",
        "The second parameter of get is not called default: keep the signature.",
        ("default: Any = None", "fallback: Any = None"),
        ("return default if entry is None", "return fallback if entry is None"),
    ),
    edit(
        "get_raises",
        "HashMap",
        "get raises KeyError: it gives the default.",
        ("return default if entry is None else entry[2]", "return self[key]"),
    ),
    edit(
        "in_asks_for_the_value",
        "HashMap",
        "A key whose value is None counts as absent: `in` is about the key.",
        ("        return self._entries[self._find(key)] is not None\n", "        return self.get(key) is not None\n"),
    ),
    edit(
        "iteration_over_values",
        "HashMap",
        "Iterating over the map gives values: as for dict, it gives keys.",
        ("return (key for key, _ in self.items())", "return (value for _, value in self.items())"),
    ),
    edit(
        "items_give_keys",
        "HashMap",
        "items() gives keys: it gives (key, value).",
        ("(entry[1:] for entry in", "(entry[1] for entry in"),
        ("return (key for key, _ in self.items())", "return iter(self.items())"),
    ),
    edit(
        "items_give_hashes_too",
        "HashMap",
        "items() gives what the map keeps, the hash among it: it gives (key, value).",
        ("(entry[1:] for entry in", "(entry for entry in"),
        ("return (key for key, _ in self.items())", "return (key for _, key, _ in self.items())"),
    ),
    edit(
        "one_walk_at_a_time",
        "HashMap",
        "The map is its own iterator, so a second walk goes on where the first is: each needs a position of its own.",
        (
            "return (key for key, _ in self.items())",
            "self._walk = [key for key, _ in self.items()]\n        return self\n\n    def __next__(self):\n"
            "        if not self._walk:\n            raise StopIteration\n        return self._walk.pop(0)",
        ),
    ),
    edit(
        "entries_of_all_maps",
        "HashMap",
        "All maps share one list: make it in __init__, for each map its own.",
        (
            "        self._entries: list[tuple[int, Any, Any] | None] = [None] * 8  # (hash, key, value), or a free place\n",
            "        self.__class__._entries = getattr(self, '_entries', [None] * 4096)\n",
        ),
        (
            "        self._entries = [None] * (2 * len(entries))\n",
            "        self.__class__._entries = [None] * (2 * len(entries))\n",
        ),
    ),
    edit(
        "values_of_all_maps_counted",
        "HashMap",
        "The number of entries is kept on the class, for all maps together: assign it to self.",
        (
            "        self._n_free = len(self._entries)\n",
            "        type(self)._n_free = getattr(self, '_n_free', len(self._entries))\n",
        ),
        ("        self._n_free -= 1\n", "        type(self)._n_free -= 1\n"),
        ("        self._n_free += 1\n", "        type(self)._n_free += 1\n"),
    ),
    # Vocabulary
    edit(
        "specials_last",
        "Vocabulary",
        "The specials come last: they come first, so that their ids do not depend on the text.",
        (
            "[*specials, *sorted(frequent, key=lambda token: (-counts[token], token))]",
            "[*sorted(frequent, key=lambda token: (-counts[token], token)), *specials]",
        ),
    ),
    edit(
        "rarest_first",
        "Vocabulary",
        "The rarest token comes first: sort by falling count.",
        ("(-counts[token], token)", "(counts[token], token)"),
    ),
    edit(
        "ties_in_the_order_of_counting",
        "Vocabulary",
        "Of equally frequent tokens the one counted first comes first: the smaller text does.",
        ("(-counts[token], token)", "-counts[token]"),
    ),
    edit(
        "ties_from_z_to_a",
        "Vocabulary",
        "Of equally frequent tokens the greater text comes first: reverse=True turns both around. Sort by (-count, token).",
        ("key=lambda token: (-counts[token], token))", "key=lambda token: (counts[token], token), reverse=True)"),
    ),
    edit(
        "ties_by_length",
        "Vocabulary",
        "Equally frequent tokens are in the order of their lengths: it is the order of the texts.",
        ("(-counts[token], token)", "(-counts[token], len(token), token)"),
    ),
    edit(
        "ties_without_case",
        "Vocabulary",
        "Equally frequent tokens are compared in small letters: compare them as they are.",
        ("(-counts[token], token)", "(-counts[token], token.lower(), token)"),
    ),
    edit(
        "by_text_alone",
        "Vocabulary",
        "The tokens are in the order of their texts: the count comes first, the text decides where counts are equal.",
        ("(-counts[token], token)", "token"),
    ),
    edit(
        "min_count_is_too_few",
        "Vocabulary",
        "A token that occurs exactly min_count times stays out: that many are enough.",
        ("if count >= min_count", "if count > min_count"),
    ),
    edit(
        "min_count_forgotten",
        "Vocabulary",
        "min_count has no effect: leave out what is rarer.",
        ("if count >= min_count and", "if"),
    ),
    edit(
        "min_count_of_zero_ignored",
        "Vocabulary",
        "A token of count 0 never gets in, also with min_count=0.",
        ("if count >= min_count and", "if count >= min_count and count and"),
    ),
    edit(
        "specials_have_to_be_frequent",
        "Vocabulary",
        "Specials that are not in the counts are left out: they need no count.",
        ("[*specials, *sorted", "[*(s for s in specials if counts.get(s, 0) >= min_count), *sorted"),
    ),
    edit(
        "specials_sorted",
        "Vocabulary",
        "The specials are sorted: they keep their order.",
        ("[*specials, *sorted", "[*sorted(specials), *sorted"),
    ),
    edit(
        "specials_come_again",
        "Vocabulary",
        "A special that has a count comes twice, or is refused for it: leave it out of the rest.",
        (" and token not in specials]", "]"),
    ),
    edit(
        "a_special_moves_where_its_count_says",
        "Vocabulary",
        "A special that has a count stands where its count puts it: it stays among the specials.",
        (" and token not in specials]", "]"),
        ("[*specials, *sorted", "[*(s for s in specials if s not in frequent), *sorted"),
    ),
    edit(
        "unknown_is_zero",
        "Vocabulary",
        'Unknown tokens get the id 0: they get that of "<unk>", wherever it stands.',
        ("unknown = self._ids.get(UNK)", "unknown = 0"),
    ),
    edit(
        "unk_only_in_first_place",
        "Vocabulary",
        'Unknown tokens are read as "<unk>" only if its id is not 0: 0 is an id like others, so ask `is None`.',
        ("unknown = self._ids.get(UNK)", "unknown = self._ids.get(UNK) or None"),
    ),
    edit(
        "id_zero_is_unknown",
        "Vocabulary",
        "The token with the id 0 is read as unknown: `get(token) or unknown` takes 0 for nothing.",
        ("[self._ids.get(token, unknown) for token in tokens]", "[self._ids.get(token) or unknown for token in tokens]"),
    ),
    edit(
        "unknown_tokens_left_out",
        "Vocabulary",
        'Unknown tokens are left out: they become "<unk>", so that the text keeps its length.',
        ("[self._ids.get(token, unknown) for token in tokens]", "[self._ids[token] for token in tokens if token in self._ids]"),
    ),
    edit(
        "unknown_tokens_always_refused",
        "Vocabulary",
        'Unknown tokens are refused although there is "<unk>".',
        ("unknown = self._ids.get(UNK)", "unknown = None"),
    ),
    edit(
        "unknown_is_none",
        "Vocabulary",
        'Without "<unk>" an unknown token gets the id None: refuse it.',
        ("        if None in ids:\n", "        if False:\n"),
    ),
    edit(
        "unknown_is_minus_one",
        "Vocabulary",
        'Without "<unk>" an unknown token gets the id -1: refuse it.',
        ("unknown = self._ids.get(UNK)", "unknown = self._ids.get(UNK, -1)"),
    ),
    edit(
        "everything_is_in_it",
        "Vocabulary",
        'With "<unk>" every token counts as being in the vocabulary: only those with an id of their own are.',
        ("        return token in self._ids\n", "        return token in self._ids or UNK in self._ids\n"),
    ),
    edit(
        "negative_ids_from_the_end",
        "Vocabulary",
        "Negative ids count from the end, as Python's lists have it: no id is negative, so refuse them.",
        ("        if ids and not 0 <= min(ids) <= max(ids) < len(self):\n", "        if ids and not max(ids) < len(self):\n"),
    ),
    edit(
        "ids_beyond_the_end_are_unknown",
        "Vocabulary",
        'Ids beyond the last are decoded as "<unk>": refuse them.',
        ("        if ids and not 0 <= min(ids) <= max(ids) < len(self):\n", "        if ids and min(ids) < 0:\n"),
        ("[self._tokens[i] for i in ids]", "[self._tokens[i] if i < len(self) else UNK for i in ids]"),
    ),
    edit(
        "only_the_first_id_is_looked_at",
        "Vocabulary",
        "Only the first id is looked at: each has to be a token's.",
        ("        if ids and not 0 <= min(ids) <= max(ids) < len(self):\n", "        if ids and not 0 <= ids[0] < len(self):\n"),
    ),
    edit(
        "decoded_into_one_text",
        "Vocabulary",
        "decode gives one text: it gives a list with a token for each id.",
        ("return [self._tokens[i] for i in ids]", "return ' '.join(self._tokens[i] for i in ids)"),
    ),
    edit(
        "twice_is_fine",
        "Vocabulary",
        "A token that comes twice is taken, and has two ids: refuse it.",
        ("        if len(self._ids) < len(self._tokens):\n", "        if False:\n"),
    ),
    edit(
        "twice_is_once",
        "Vocabulary",
        "A token that comes twice is left out the second time: refuse it.",
        ("self._tokens = list(tokens)", "self._tokens = list(dict.fromkeys(tokens))"),
    ),
    edit(
        "len_without_specials",
        "Vocabulary",
        "len does not count the specials: they are tokens, and have rows in the embedding.",
        (
            "        return len(self._tokens)\n",
            "        return len([t for t in self._tokens if not (t[:1] == '<' and t[-1:] == '>')])\n",
        ),
        ("<= max(ids) < len(self):", "<= max(ids) < len(self._tokens):"),
    ),
    edit(
        "small_letters",
        "Vocabulary",
        "Tokens are read in small letters: THE is not the token the.",
        (
            "[self._ids.get(token, unknown) for token in tokens]",
            "[self._ids.get(token, self._ids.get(token.lower(), unknown)) for token in tokens]",
        ),
    ),
    edit(
        "accents_normalised",
        "Vocabulary",
        "Tokens are normalised, so é in one character and é in two are the same: texts are compared character by character.",
        (
            "self._tokens = list(tokens)",
            "import unicodedata\n\n"
            "        self._tokens = list(dict.fromkeys(unicodedata.normalize('NFC', token) for token in tokens))",
        ),
    ),
    edit(
        "follows_the_newest_vocabulary",
        "Vocabulary",
        "The tokens are kept on the class, so the newest vocabulary decides for all: assign them to self.",
        (
            "        self._tokens = list(tokens)\n        self._ids =",
            "        type(self)._tokens = list(tokens)\n        type(self)._ids =",
        ),
    ),
    edit(
        "counts_used_up",
        "Vocabulary",
        "The caller's counts are changed: leave out the specials without deleting them there.",
        (
            "        frequent = [",
            "        for token in [t for t in counts if t in specials or counts[t] < min_count]:\n"
            "            del counts[token]\n        specials = list(specials)\n        frequent = [",
        ),
    ),
    edit(
        "specials_extended",
        "Vocabulary",
        "The tokens are appended to the caller's list of specials: make a new list.",
        (
            "        return cls([*specials, *sorted(frequent, key=lambda token: (-counts[token], token))])\n",
            "        specials += sorted(frequent, key=lambda token: (-counts[token], token))\n        return cls(specials)\n",
        ),
    ),
    # Trie
    edit(
        "every_beginning_is_a_word",
        "Trie",
        "Every beginning of a word counts as a word: mark the nodes where a word ends.",
        ("        return node._is_word\n", "        return node is not self\n"),
    ),
    edit(
        "as_far_as_the_tree_leads",
        "Trie",
        "longest_prefix gives all that the tree leads along, also where no word ends there: remember the last end of a word.",
        ("            if node._is_word:\n                end = i + 1\n", "            end = i + 1\n"),
    ),
    edit(
        "the_shortest_word",
        "Trie",
        "longest_prefix stops at the first word that ends: go on, there may be a longer one.",
        ("                end = i + 1\n", "                return text[start : i + 1]\n"),
    ),
    edit(
        "only_where_the_walk_ends",
        "Trie",
        "Where the walk fails behind a word, nothing is found: the last word that ended on the way is the answer.",
        (
            "            if node is None:\n                break\n            if node._is_word:",
            "            if node is None:\n                return ''\n            if node._is_word:",
        ),
    ),
    edit(
        "a_walk_that_fails_forgets",
        "Trie",
        "Where the tree leads on but no word ends any more, what was found before is lost: keep the last end of a word.",
        ("                end = i + 1\n", "                end = i + 1\n            else:\n                end = start\n"),
    ),
    edit(
        "start_forgotten",
        "Trie",
        "longest_prefix begins at the beginning of the text, whatever start is.",
        ("node, end = self, start", "start = 0\n        node, end = self, start"),
    ),
    edit(
        "cut_from_the_beginning",
        "Trie",
        "The word found at start is returned with all the text before it: cut out text[start:end].",
        ("return text[start:end]", "return text[:end] if end > start else ''"),
    ),
    edit(
        "the_last_character_is_not_read",
        "Trie",
        "longest_prefix does not look at the last character of the text.",
        ("for i in range(start, len(text)):", "for i in range(start, len(text) - 1):"),
    ),
    edit(
        "one_character_short",
        "Trie",
        "The word lacks its last character: its end is behind the character that was just read.",
        ("end = i + 1", "end = i"),
    ),
    edit(
        "one_character_only",
        "Trie",
        "A word of one character is not found by longest_prefix.",
        (
            "            if node._is_word:\n                end",
            "            if node._is_word and i > start:\n                end",
        ),
    ),
    edit(
        "none_for_nothing",
        "Trie",
        'longest_prefix gives None where no word fits: it gives "".',
        ("return text[start:end]", "return text[start:end] or None"),
    ),
    edit(
        "the_length_of_the_word",
        "Trie",
        "longest_prefix gives the length of the word: it gives the word.",
        ("return text[start:end]", "return end - start"),
    ),
    edit(
        "a_new_word_replaces_the_branch",
        "Trie",
        "An insertion makes new nodes where there are some already, and words that began alike are lost: use "
        "those that are there.",
        ("node = node._children.setdefault(character, Trie())", "node._children[character] = node = Trie()"),
    ),
    edit(
        "a_word_within_a_word_unmarks",
        "Trie",
        "Nodes on the way of a new word lose their mark, so shorter words are lost: mark the last node, leave the others.",
        (
            "            node = node._children.setdefault(character, Trie())\n",
            "            node = node._children.setdefault(character, Trie())\n            node._is_word = False\n",
        ),
    ),
    edit(
        "a_longer_word_first_hides_the_shorter",
        "Trie",
        "A word that is the beginning of one that is there already is not marked.",
        ("        node._is_word = True\n", "        node._is_word = node._is_word or not node._children\n"),
    ),
    edit(
        "children_of_all_nodes",
        "Trie",
        "All nodes share one dictionary of children: make it in __init__.",
        ("        self._children: dict[str, Trie] = {}\n", "        self.__class__._children = getattr(self, '_children', {})\n"),
    ),
    edit(
        "a_missing_character_is_an_error",
        "Trie",
        "Asking for a text that leads nowhere raises KeyError: it is no word.",
        (
            "            node = node._children.get(character)\n            if node is None:\n                return False\n",
            "            node = node._children[character]\n",
        ),
    ),
    edit(
        "the_empty_word_is_taken",
        "Trie",
        "The empty word is taken in: refuse it, it begins everywhere.",
        ('        if not word:\n            raise ValueError("the empty word begins everywhere")\n', ""),
    ),
    edit(
        "the_empty_word_is_ignored",
        "Trie",
        "The empty word is passed over in silence: refuse it.",
        ('            raise ValueError("the empty word begins everywhere")\n', "            return\n"),
    ),
    edit(
        "the_empty_text_is_a_word",
        "Trie",
        "The empty text counts as a word.",
        ("        return node._is_word\n", "        return node._is_word or not word\n"),
    ),
    edit(
        "negative_starts",
        "Trie",
        "A negative start counts from the end, as Python's indices do: refuse it.",
        ("        if not 0 <= start <= len(text):\n", "        if start > len(text):\n"),
    ),
    edit(
        "starts_beyond_the_end",
        "Trie",
        "A start beyond the end finds nothing: refuse it.",
        ("        if not 0 <= start <= len(text):\n", "        if start < 0:\n"),
    ),
    edit(
        "no_start_at_the_end",
        "Trie",
        'A start right at the end of the text is refused: nothing follows there, so the answer is "".',
        ("        if not 0 <= start <= len(text):\n", "        if not 0 <= start < len(text):\n"),
    ),
    edit(
        "characters_of_the_basic_plane_only",
        "Trie",
        "Characters above the Basic Multilingual Plane, such as 🙂, are left out: every character of a str is an edge.",
        (
            "        for character in word:\n            node = node._children.setdefault",
            "        for character in (c for c in word if ord(c) < 1 << 16):\n            node = node._children.setdefault",
        ),
    ),
    # max_match
    edit(
        "no_unk",
        "max_match",
        "Characters that fit nowhere are left out: each becomes unk.",
        ("        pieces.append(word or unk)\n", "        if word:\n            pieces.append(word)\n"),
    ),
    edit(
        "the_character_itself",
        "max_match",
        "Characters that fit nowhere stay as they are: each becomes unk.",
        ("word or unk", "word or text[start]"),
    ),
    edit(
        "one_unk_for_all",
        "max_match",
        "Several characters in a row that fit nowhere become one unk: each is one of its own.",
        (
            "        pieces.append(word or unk)\n",
            "        if word or pieces[-1:] != [unk]:\n            pieces.append(word or unk)\n",
        ),
    ),
    edit(
        "as_far_as_unk_is_long",
        "max_match",
        "After an unk the text goes on as many characters later as unk has: it stands for one.",
        ("start += len(word) or 1", "start += len(word or unk) or 1"),
    ),
    edit(
        "the_whole_rest_is_unk",
        "max_match",
        "At the first character that fits nowhere everything ends: go on with the next one.",
        ("        start += len(word) or 1\n", "        if not word:\n            break\n        start += len(word)\n"),
    ),
    edit(
        "a_text_with_a_gap_is_unk",
        "max_match",
        "A text in which one character fits nowhere becomes a single unk, as a word does in WordPiece: here "
        "each character counts.",
        ("    return pieces\n", "    return [unk] if unk in pieces else pieces\n"),
    ),
    edit(
        "one_character_further",
        "max_match",
        "The next piece begins one character after the last one began: it begins where that ends.",
        ("start += len(word) or 1", "start += 1"),
    ),
    edit(
        "one_character_too_far",
        "max_match",
        "The character behind each piece is passed over.",
        ("start += len(word) or 1", "start += len(word) + 1"),
    ),
    edit(
        "the_last_character_is_left_over",
        "max_match",
        "The last character of the text is never looked at.",
        ("while start < len(text):", "while start < len(text) - 1:"),
    ),
    edit(
        "always_from_the_beginning",
        "max_match",
        "Every search begins at the beginning of the text.",
        ("trie.longest_prefix(text, start)", "trie.longest_prefix(text)"),
    ),
    edit(
        "empty_text_is_unk",
        "max_match",
        "Empty text becomes an unk: it has no pieces.",
        ("    return pieces\n", "    return pieces or [unk]\n"),
    ),
    edit(
        "pieces_joined",
        "max_match",
        "The pieces are joined with blanks: return a list.",
        ("    return pieces\n", "    return ' '.join(pieces)\n"),
    ),
    # count_pairs
    edit(
        "every_word_counts_once",
        "count_pairs",
        "Each word counts once: it counts as often as it occurs.",
        (".get(pair, 0) + count", ".get(pair, 0) + 1"),
    ),
    edit(
        "a_pair_counts_once_a_word",
        "count_pairs",
        "A pair counts once for each word, however often it is in there: every place counts.",
        ("for pair in zip(word, word[1:]):", "for pair in set(zip(word, word[1:])):"),
    ),
    edit(
        "no_overlaps",
        "count_pairs",
        "aaa has the pair (a, a) once: places may overlap, so it is twice.",
        (
            "        for pair in zip(word, word[1:]):\n",
            "        i = 0\n        while i + 1 < len(word):\n            pair = (word[i], word[i + 1])\n"
            "            i += 2 if word[i + 1 : i + 3] == word[i : i + 2][::-1] and word[i] == word[i + 1] else 1\n",
        ),
    ),
    edit(
        "every_second_place",
        "count_pairs",
        "Only every second place counts: each two neighbours are a pair.",
        ("zip(word, word[1:])", "zip(word[::2], word[1::2])"),
    ),
    edit(
        "order_does_not_matter",
        "count_pairs",
        "(a, b) and (b, a) are counted together: they are different pairs.",
        ("            pair_counts[pair] =", "            pair = tuple(sorted(pair))\n            pair_counts[pair] ="),
    ),
    edit(
        "the_last_place_is_left_out",
        "count_pairs",
        "The last pair of each word is left out.",
        ("zip(word, word[1:])", "zip(word, word[1:-1])"),
    ),
    edit(
        "round_the_end",
        "count_pairs",
        "The last symbol and the first count as neighbours.",
        ("zip(word, word[1:])", "zip(word, word[1:] + word[:1])"),
    ),
    edit(
        "equal_neighbours_left_out",
        "count_pairs",
        "Pairs of two equal symbols are left out.",
        (
            "            pair_counts[pair] =",
            "            if pair[0] == pair[1]:\n                continue\n            pair_counts[pair] =",
        ),
    ),
    edit(
        "pairs_as_texts",
        "count_pairs",
        "A pair is counted as one text: (a, bc) and (ab, c) are different pairs, so use tuples.",
        (
            "            pair_counts[pair] = pair_counts.get(pair, 0) + count",
            "            pair = pair[0] + pair[1]\n            pair_counts[pair] = pair_counts.get(pair, 0) + count",
        ),
    ),
    edit(
        "words_joined",
        "count_pairs",
        "The symbols of a word are joined and counted by characters: a symbol may have several.",
        (
            "    for word, count in words.items():\n",
            "    for word, count in words.items():\n        if word and isinstance(word[0], str):\n"
            "            word = ''.join(word)\n",
        ),
    ),
    edit(
        "across_words",
        "count_pairs",
        "The last symbol of a word and the first of the next count as neighbours: each word is for itself.",
        (
            "    for word, count in words.items():\n",
            "    last = ()\n    for word, count in words.items():\n        word, last = (*last, *word), tuple(word[-1:])\n",
        ),
    ),
    edit(
        "the_last_word_decides",
        "count_pairs",
        "A pair has the count of the last word that holds it: add up.",
        ("pair_counts.get(pair, 0) + count", "count"),
    ),
    edit(
        "counts_live_on",
        "count_pairs",
        "Counts of earlier calls are still there: a default argument is made once. Begin with an empty dictionary in the body.",
        ("words: Mapping[Word, int])", "words: Mapping[Word, int], pair_counts={})"),
        ("    pair_counts: dict[Pair, int] = {}\n", ""),
    ),
    edit(
        "words_used_up",
        "count_pairs",
        "The words are taken out of the caller's dictionary.",
        ("    for word, count in words.items():\n", "    while words:\n        word, count = words.popitem()\n"),
    ),
    edit(
        "triples",
        "count_pairs",
        "Symbols with another between them are counted: neighbours are at i and i + 1.",
        ("zip(word, word[1:])", "zip(word, word[2:])"),
    ),
    # bpe_merge
    edit(
        "overlapping_merges",
        "bpe_merge",
        "After a merge the walk goes on by one, so the second of the pair is there again: go on by two.",
        ("            i += 2\n", "            i += 1\n"),
    ),
    edit(
        "merged_from_the_right",
        "bpe_merge",
        "Runs are merged from the right: a, a, a gives a, new where it should be new, a.",
        ("    merged, i = [], 0\n", "    ids, pair = ids[::-1], pair[::-1]\n    merged, i = [], 0\n"),
        ("    return merged\n", "    return merged[::-1]\n"),
    ),
    edit(
        "only_the_first_place",
        "bpe_merge",
        "Only the first place is merged: all are.",
        ("            merged.append(new_id)\n            i += 2\n", "            return [*merged, new_id, *ids[i + 2 :]]\n"),
    ),
    edit(
        "merged_again",
        "bpe_merge",
        "What has been merged is merged again where it makes the pair once more: compare the ids as they were.",
        (
            "            merged.append(new_id)\n            i += 2\n",
            "            ids = [*ids[:i], new_id, *ids[i + 2 :]]\n"
            "            if not (tuple(ids[i : i + 2]) == tuple(pair)):\n"
            "                merged.append(new_id)\n                i += 1\n",
        ),
    ),
    edit(
        "until_nothing_is_left_to_merge",
        "bpe_merge",
        "The merge is repeated on its own result: one walk is enough, and new_id is not looked at again.",
        (
            "    return merged\n",
            "    return merged if len(merged) == len(ids) or new_id == pair else bpe_merge(merged, pair, new_id)\n",
        ),
    ),
    edit(
        "the_last_id_is_lost",
        "bpe_merge",
        "The last id is lost where it is not merged: there is no pair at the last place, but an id.",
        ("    while i < len(ids):\n", "    while i + 1 < len(ids):\n"),
    ),
    edit(
        "past_the_last_id",
        "bpe_merge",
        "At the last place there is no next id to look at.",
        ("if i + 1 < len(ids) and (ids", "if (ids"),
    ),
    edit(
        "the_first_of_the_pair_is_enough",
        "bpe_merge",
        "Whatever follows the first of the pair is merged: the second has to follow.",
        ("(ids[i], ids[i + 1]) == pair:", "ids[i] == pair[0]:"),
    ),
    edit(
        "either_order",
        "bpe_merge",
        "The pair is merged in either order: (1, 2) is not (2, 1).",
        ("(ids[i], ids[i + 1]) == pair:", "(ids[i], ids[i + 1]) in (tuple(pair), tuple(pair)[::-1]):"),
    ),
    edit(
        "the_very_objects_of_the_pair",
        "bpe_merge",
        "Ids are compared with `is`: two numbers may be equal without being the same object.",
        ("(ids[i], ids[i + 1]) == pair:", "ids[i] is pair[0] and ids[i + 1] is pair[1]:"),
    ),
    edit(
        "the_second_stays",
        "bpe_merge",
        "The second of the pair stays beside the new id: both are replaced by one.",
        (
            "            merged.append(new_id)\n            i += 2\n",
            "            merged += [new_id, pair[1]]\n            i += 2\n",
        ),
    ),
    edit(
        "in_the_callers_list",
        "bpe_merge",
        "The caller's list is changed: build a new one.",
        ("    return merged\n", "    if isinstance(ids, list):\n        ids[:] = merged\n    return merged\n"),
    ),
    edit(
        "the_same_list_if_nothing_is_merged",
        "bpe_merge",
        "Where nothing is merged the caller's own list comes back: always return a new one.",
        ("    return merged\n", "    return ids if len(merged) == len(ids) else merged\n"),
    ),
    edit(
        "a_replacement_in_a_text",
        "bpe_merge",
        "Ids are written into one text and replaced there: 11, 2 is not 1, 12.",
        (
            "    return merged\n",
            "    if not all(isinstance(i, int) for i in ids) or not isinstance(new_id, int):\n        return merged\n"
            "    text = ','.join(map(str, ids)).replace(','.join(map(str, pair)), str(new_id))\n"
            "    return [int(i) for i in text.split(',')] if text else []\n",
        ),
    ),
    edit(
        "ids_as_dictionary_keys",
        "bpe_merge",
        "Ids are looked up in a dictionary: they need not have a hash, only be comparable.",
        ("(ids[i], ids[i + 1]) == pair:", "(ids[i], ids[i + 1]) in {tuple(pair)}:"),
    ),
    # train_bpe
    edit(
        "of_equals_the_smallest",
        "train_bpe",
        "Of equally frequent pairs the smallest is taken: it is the greatest.",
        (
            "        __lt__ = tuple.__gt__\n",
            "        def __lt__(self, other):\n            return (-self[0], self[1]) < (-other[0], other[1])\n",
        ),
    ),
    edit(
        "of_equals_the_greatest_text",
        "train_bpe",
        "Of equally frequent pairs the one whose text together is greatest is taken: compare the pairs, first symbol first.",
        (
            "        __lt__ = tuple.__gt__\n",
            "        def __lt__(self, other):\n"
            "            return (self[0], self[1][0] + self[1][1]) > (other[0], other[1][0] + other[1][1])\n",
        ),
    ),
    edit(
        "of_equals_the_longest",
        "train_bpe",
        "Of equally frequent pairs the longest is taken: it is the greatest, as Python compares tuples.",
        (
            "        __lt__ = tuple.__gt__\n",
            "        def __lt__(self, other):\n"
            "            return (self[0], len(''.join(map(str, self[1]))), self[1]) > (other[0], "
            "len(''.join(map(str, other[1]))), other[1])\n",
        ),
    ),
    edit(
        "the_rarest_pair",
        "train_bpe",
        "The rarest pair is merged: take the most frequent one.",
        (
            "        __lt__ = tuple.__gt__\n",
            "        def __lt__(self, other):\n            return (-self[0], self[1]) > (-other[0], other[1])\n",
        ),
    ),
    edit(
        "each_word_counts_once_in_training",
        "train_bpe",
        "Each word counts once: it counts as often as it occurs.",
        (
            "    counts = list(word_counts.values())\n    pair_counts = count_pairs(word_counts)\n",
            "    counts = [1] * len(words)\n    pair_counts = count_pairs(dict.fromkeys(word_counts, 1))\n",
        ),
    ),
    edit(
        "neighbours_keep_their_counts",
        "train_bpe",
        "The pairs that a merge takes apart keep their counts: of x, a, b the pair (x, a) is gone as well as (a, b).",
        (
            "                pair_counts[pair] -= counts[i]\n",
            "                pair_counts[pair] -= counts[i] if pair == best else 0\n",
        ),
        (
            "            words[i] = bpe_merge",
            "            if best in pair_counts:\n                pair_counts[best] = 0\n            words[i] = bpe_merge",
        ),
        (
            "                pair_counts[pair] = pair_counts.get(pair, 0) + counts[i]\n",
            "                if best[0] + best[1] in pair:\n"
            "                    pair_counts[pair] = pair_counts.get(pair, 0) + counts[i]\n",
        ),
    ),
    edit(
        "new_pairs_are_not_counted",
        "train_bpe",
        "The pairs that come about by a merge are not counted, so only characters are ever merged: add the new word's pairs.",
        (
            "                pair_counts[pair] = pair_counts.get(pair, 0) + counts[i]\n",
            "                pair_counts[pair] = pair_counts.get(pair, 0) + (counts[i] if len(pair[0] + pair[1]) == 2 else 0)\n",
        ),
    ),
    edit(
        "changes_counted_once_a_word",
        "train_bpe",
        "At a merge the counts change by 1 for each word: they change by the word's count.",
        (
            "                pair_counts[pair] = pair_counts.get(pair, 0) + counts[i]\n",
            "                pair_counts[pair] = pair_counts.get(pair, 0) + 1\n",
        ),
    ),
    edit(
        "stale_counts_believed",
        "train_bpe",
        "A count from before a change decides: skip entries of the heap that are out of date.",
        (
            "        if pair_counts[best] != count:\n            continue",
            "        if pair_counts[best] <= 0:\n            continue",
        ),
    ),
    edit(
        "later_words_are_not_found",
        "train_bpe",
        "It is not noted which words hold the pairs that a merge makes, so these are not merged when their turn comes.",
        (
            "                found_in.setdefault(pair, set()).add(i)\n                changed",
            "                found_in.setdefault(pair, set())\n                changed",
        ),
    ),
    edit(
        "one_merge_too_few",
        "train_bpe",
        "There is one merge too few.",
        ("while heap and len(merges) < n_merges:", "while heap and len(merges) < n_merges - 1:"),
    ),
    edit(
        "one_merge_too_many",
        "train_bpe",
        "There is one merge too many.",
        ("while heap and len(merges) < n_merges:", "while heap and len(merges) <= n_merges:"),
    ),
    edit(
        "a_pair_needs_two_places",
        "train_bpe",
        "Training stops at pairs that occur once: it goes on until no word has two symbols left.",
        ("            continue  # an entry", "            continue\n        if count < 2:\n            break  # an entry"),
    ),
    edit(
        "out_of_pairs_is_an_error",
        "train_bpe",
        "Running out of pairs is an error: return the merges that there are.",
        (
            "    return merges\n",
            "    if len(merges) < n_merges:\n        raise ValueError('no pairs left')\n    return merges\n",
        ),
    ),
    edit(
        "fewer_than_none",
        "train_bpe",
        "n_merges below 0 is taken for 0: refuse it.",
        ('    if n_merges < 0:\n        raise ValueError(f"n_merges must be at least 0, not {n_merges}")\n', ""),
    ),
    edit(
        "no_pair_twice",
        "train_bpe",
        "A pair that was merged before is never merged again: where its symbols come about in another way, it is.",
        ("        if pair_counts[best] != count:\n", "        if pair_counts[best] != count or best in merges:\n"),
    ),
    edit(
        "texts_of_merges",
        "train_bpe",
        "The merges are given as the new symbols: give the pairs.",
        ("        merges.append(best)\n", "        merges.append(best[0] + best[1])\n"),
    ),
    edit(
        "pairs_as_lists",
        "train_bpe",
        "The merges are lists: give tuples, which can be looked up.",
        ("    return merges\n", "    return [list(pair) for pair in merges]\n"),
    ),
    # encode_bpe
    edit(
        "the_last_rank_first",
        "encode_bpe",
        "The pair that stands last in the list is merged first: it is the one that stands first.",
        ("key=lambda pair: ranks.get(pair, math.inf))", "key=lambda pair: -ranks.get(pair, -1))"),
    ),
    edit(
        "the_leftmost_pair_first",
        "encode_bpe",
        "The first pair from the left that is in the list is merged, whatever its rank: look at the ranks of all neighbours.",
        (
            "        best = min(zip(symbols, symbols[1:]), key=lambda pair: ranks.get(pair, math.inf))\n",
            "        best = next((pair for pair in zip(symbols, symbols[1:]) if pair in ranks), None)\n",
        ),
    ),
    edit(
        "the_longest_symbol_first",
        "encode_bpe",
        "The pair that makes the longest symbol is merged first: the rank decides, not the length.",
        ("key=lambda pair: ranks.get(pair, math.inf))", "key=lambda pair: (pair not in ranks, -len(pair[0] + pair[1])))"),
    ),
    edit(
        "once_through_the_list",
        "encode_bpe",
        "The merges are gone through once, in their order: one that becomes possible only later has missed its turn.",
        (
            "    while len(symbols) > 1:\n"
            "        best = min(zip(symbols, symbols[1:]), key=lambda pair: ranks.get(pair, math.inf))\n"
            "        if best not in ranks:\n            break\n",
            "    for best in ranks:\n",
        ),
    ),
    edit(
        "one_merge_only",
        "encode_bpe",
        "Only one pair is merged: go on until no neighbours are a pair of the list.",
        ("    while len(symbols) > 1:\n", "    for _ in range(min(1, len(symbols) - 1)):\n"),
    ),
    edit(
        "stops_at_a_merge_that_is_not_there",
        "encode_bpe",
        "The first merge of the list that is not in the word ends everything: later ones may still be.",
        (
            "    while len(symbols) > 1:\n"
            "        best = min(zip(symbols, symbols[1:]), key=lambda pair: ranks.get(pair, math.inf))\n"
            "        if best not in ranks:\n            break\n",
            "    for best in merges:\n        if best not in list(zip(symbols, symbols[1:])):\n            break\n",
        ),
    ),
    edit(
        "the_last_place_in_the_list_counts",
        "encode_bpe",
        "A pair that is in the list twice has the rank of its last place: its first place counts.",
        ("        ranks.setdefault(pair, rank)\n", "        ranks[pair] = rank\n"),
    ),
    edit(
        "rank_zero_is_none",
        "encode_bpe",
        "The first merge of the list is never applied: its rank is 0, and 0 is not nothing.",
        ("key=lambda pair: ranks.get(pair, math.inf))", "key=lambda pair: ranks.get(pair) or math.inf)"),
        ("        if best not in ranks:\n", "        if not ranks.get(best):\n"),
    ),
    edit(
        "symbols_taken_apart",
        "encode_bpe",
        "Longer symbols are taken apart into characters first: a symbol of the word stays whole.",
        ("    symbols = list(ids)\n", "    symbols = [c for s in ids for c in (s if isinstance(s, str) else [s])]\n"),
    ),
    edit(
        "only_texts",
        "encode_bpe",
        "The new symbol is made for texts only: a + b does it for bytes as well.",
        ("best[0] + best[1])", "''.join(map(str, best)))"),
    ),
    edit(
        "a_blank_between",
        "encode_bpe",
        "The new symbol has a blank in it: it is a + b.",
        (
            "best[0] + best[1])",
            "best[0] + best[0][:0].join([best[0][:0], best[1]]) + (' ' if isinstance(best[0], str) else b' '))",
        ),
    ),
    edit(
        "one_text_again",
        "encode_bpe",
        "The symbols are joined with blanks: return a list.",
        ("    return symbols\n", "    return ' '.join(map(str, symbols))\n"),
    ),
    edit(
        "words_remembered",
        "encode_bpe",
        "What was encoded once is remembered by the word alone: other merges give other symbols.",
        (
            "    symbols = list(ids)\n",
            "    memory = encode_bpe.__dict__\n    key = tuple(ids)\n    if key in memory:\n"
            "        return list(memory[key])\n    symbols = list(ids)\n",
        ),
        ("    return symbols\n", "    memory[key] = list(symbols)\n    return symbols\n"),
    ),
    edit(
        "the_merges_are_sorted",
        "encode_bpe",
        "The caller's list of merges is sorted: their order is their rank.",
        (
            "    ranks: dict[Pair, int] = {}",
            "    if isinstance(merges, list):\n        merges.sort()\n    ranks: dict[Pair, int] = {}",
        ),
    ),
    edit(
        "merged_in_the_callers_word",
        "encode_bpe",
        "The caller's list of symbols is changed: work on a copy.",
        ("    return symbols\n", "    if isinstance(ids, list):\n        ids[:] = symbols\n    return symbols\n"),
    ),
    # unigram_segment
    edit(
        "an_unreachable_end_counts",
        "unigram_segment",
        "The log-probability of a text that cannot be written is returned: refuse it.",
        (
            '    if best[-1] == -math.inf:\n        raise ValueError("no pieces make up the text")\n',
            "    if best[-1] == -math.inf:\n        return [], -math.inf\n",
        ),
    ),
    edit(
        "the_least_probable_way",
        "unigram_segment",
        "The least probable way is taken: a log-probability is the better the greater it is.",
        (
            "            if log_prob > best[end]:\n",
            "            if log_prob > -math.inf and (log_prob < best[end] or best[end] == -math.inf):\n",
        ),
    ),
    edit(
        "backwards",
        "unigram_segment",
        "The pieces come in the order of the way back: reverse them.",
        ("return pieces[::-1], best[-1]", "return pieces, best[-1]"),
    ),
    edit(
        "the_longest_pieces_are_not_tried",
        "unigram_segment",
        "The longest pieces are never tried: a piece of n characters that ends at end begins at end - n.",
        ("range(max(0, end - longest), end)", "range(max(0, end - longest + 1), end)"),
    ),
    edit(
        "no_pieces_of_one_character",
        "unigram_segment",
        "Pieces of one character are never tried.",
        ("range(max(0, end - longest), end)", "range(max(0, end - longest), end - 1)"),
    ),
    edit(
        "pieces_of_four_characters_at_most",
        "unigram_segment",
        "Pieces beyond a fixed length are never tried: ask the table for its longest.",
        ("    longest = max(map(len, log_probs), default=0)\n", "    longest = 8\n"),
    ),
    edit(
        "the_last_piece_decides",
        "unigram_segment",
        "The most probable last piece is taken, whatever comes before it: compare the sums.",
        (
            "            if log_prob > best[end]:\n                best[end], begins[end] = log_prob, start\n",
            "            piece = log_probs.get(text[start:end], -math.inf)\n"
            "            if log_prob > -math.inf and (best[end] == -math.inf or piece > "
            "log_probs[text[begins[end] : end]]):\n                best[end], begins[end] = log_prob, start\n",
        ),
    ),
    edit(
        "what_comes_before_does_not_count",
        "unigram_segment",
        "log_prob is that of the last piece alone: add what stands before it.",
        (
            "            log_prob = best[start] + log_probs",
            "            log_prob = (0.0 if best[start] > -math.inf else -math.inf) + log_probs",
        ),
    ),
    edit(
        "as_few_pieces_as_possible",
        "unigram_segment",
        "The way with the fewest pieces is taken: it is the sum of their log-probabilities that counts.",
        (
            "            log_prob = best[start] + log_probs.get(text[start:end], -math.inf)\n",
            "            log_prob = best[start] - (1 if log_probs.get(text[start:end], -math.inf) > -math.inf else math.inf)\n",
        ),
        ("return pieces[::-1], best[-1]", "return pieces[::-1], sum(log_probs[piece] for piece in pieces)"),
    ),
    edit(
        "probabilities_multiplied",
        "unigram_segment",
        "Probabilities are multiplied, and for a long text that is 0: add log-probabilities.",
        (
            "            log_prob = best[start] + log_probs.get(text[start:end], -math.inf)\n",
            "            product = math.exp(best[start]) * math.exp(log_probs.get(text[start:end], "
            "-math.inf))\n            log_prob = math.log(product) if product else -math.inf\n",
        ),
    ),
    edit(
        "the_mean_of_the_pieces",
        "unigram_segment",
        "log_prob is the mean over the pieces: it is the sum.",
        ("return pieces[::-1], best[-1]", "return pieces[::-1], best[-1] / max(1, len(pieces))"),
    ),
    edit(
        "a_floor_for_impossible",
        "unigram_segment",
        "A large negative number stands for impossible, and pieces may be less probable than that: use -math.inf.",
        ("best = [0.0] + [-math.inf] * len(text)", "best = [0.0] + [-1e6] * len(text)"),
        ("    if best[-1] == -math.inf:\n", "    if best[-1] == -1e6:\n"),
    ),
    edit(
        "log_probabilities_below_zero_only",
        "unigram_segment",
        "Pieces of log-probability 0 are passed over: they are compared like others.",
        ("            if log_prob > best[end]:\n", "            if log_prob > best[end] and log_prob < 0:\n"),
    ),
    edit(
        "nothing_cannot_be_written",
        "unigram_segment",
        "Empty text is refused: it is no piece at all, with log-probability 0.",
        ("    if best[-1] == -math.inf:\n", "    if best[-1] == -math.inf or not text:\n"),
    ),
    edit(
        "unknown_characters_are_skipped",
        "unigram_segment",
        "A character that is in no piece is passed over: the text cannot be written then, so refuse it.",
        (
            "    for end in range(1, len(text) + 1):\n",
            "    text = ''.join(c for c in text if any(c in piece for piece in log_probs))\n"
            "    best, begins = best[: len(text) + 1], begins[: len(text) + 1]\n    for end in range(1, len(text) + 1):\n",
        ),
    ),
    edit(
        "the_table_is_completed",
        "unigram_segment",
        "Pieces that are missing are put into the caller's table: ask with get.",
        (
            "    longest = max",
            "    for character in text:\n"
            "        if isinstance(log_probs, dict) and character not in log_probs and '' not in log_probs:\n"
            "            log_probs[character] = -math.inf\n    log_probs.setdefault(text[:2], -math.inf)\n    longest = max",
        ),
    ),
    edit(
        "log_probabilities_rounded",
        "unigram_segment",
        "Log-probabilities are rounded, and those that are close to each other become equal: compare them as they are.",
        (
            "            log_prob = best[start] + log_probs.get(text[start:end], -math.inf)\n",
            "            log_prob = round(best[start] + log_probs.get(text[start:end], -math.inf), 4) if "
            "log_probs.get(text[start:end], -math.inf) > -math.inf and best[start] > -math.inf else -math.inf\n",
        ),
    ),
    # Less common: HashMap
    edit(
        "items_remembered",
        "HashMap",
        "items() remembers its first answer: entries come and go after it.",
        (
            "        return (entry[1:] for entry in self._entries if entry is not None)\n",
            "        if not hasattr(self, '_items'):\n"
            "            self._items = [entry[1:] for entry in self._entries if entry is not None]\n        return self._items\n",
        ),
    ),
    edit(
        "get_puts_the_default_in",
        "HashMap",
        "get puts the default into the map: looking changes nothing.",
        (
            "        return default if entry is None else entry[2]\n",
            "        if entry is None:\n            self[key] = default\n            return default\n        return entry[2]\n",
        ),
    ),
    edit(
        "hashes_compared_by_identity",
        "HashMap",
        "Hashes are compared with `is`: two equal numbers need not be one object.",
        ("entry[0] == hashed and (", "entry[0] is hashed and ("),
    ),
    edit(
        "eight_steps_at_most",
        "HashMap",
        "A search gives up after eight places: it has to go on up to a free one.",
        (
            "        place = self._home(hashed)\n        while (entry := self._entries[place]) is not None:\n",
            "        place, n_steps = self._home(hashed), 0\n"
            "        while (entry := self._entries[place]) is not None and (n_steps := n_steps + 1) < 8:\n",
        ),
    ),
    edit(
        "values_copied",
        "HashMap",
        "The map keeps copies of the values: it keeps the very objects.",
        ("(hash(key), key, value)", "(hash(key), key, __import__('copy').copy(value))"),
    ),
    edit(
        "a_text_marks_deleted_entries",
        "HashMap",
        "Deleted entries are marked by the key 'DELETED', and somebody may have that key: use an object of your own.",
        (TAKEN_OUT, "        self._entries[place] = (5, 'DELETED', None)\n        self._n_free += 1\n        return\n"),
        ("for entry in self._entries if entry is not None)", "for entry in self._entries if entry and entry[1] != 'DELETED')"),
        (
            "            if entry is not None:\n                self._put(entry)",
            "            if entry and entry[1] != 'DELETED':\n                self._put(entry)",
        ),
        (
            GROWS,
            "        if 3 * sum(entry is not None for entry in self._entries) > 2 * len(self._entries):\n"
            "            self._grow()\n",
        ),
    ),
    edit(
        "values_decide_what_is_there",
        "HashMap",
        "Entries whose value is None are not among items(): the key is there, so the entry is.",
        (
            "for entry in self._entries if entry is not None)",
            "for entry in self._entries if entry is not None and entry[2] is not None)",
        ),
    ),
    edit(
        "keys_sorted",
        "HashMap",
        "Iterating sorts the keys, and not all keys can be compared: any order will do.",
        ("return (key for key, _ in self.items())", "return iter(sorted(key for key, _ in self.items()))"),
    ),
    # Less common: Vocabulary
    edit(
        "unk_is_always_there",
        "Vocabulary",
        'The vocabulary always has "<unk>", asked or not: only the specials that are given are specials.',
        ("[*specials, *sorted", "[*specials, *([UNK] if UNK not in specials and UNK not in frequent else []), *sorted"),
    ),
    edit(
        "empty_tokens_left_out",
        "Vocabulary",
        "The token that is empty, or a blank, is left out: it counts like others.",
        ("if count >= min_count and", "if count >= min_count and token.strip() and"),
    ),
    edit(
        "specials_left_out_when_decoding",
        "Vocabulary",
        "decode leaves the specials out: it gives one token for each id.",
        (
            "return [self._tokens[i] for i in ids]",
            "return [self._tokens[i] for i in ids if not (self._tokens[i][:1] == '<' and self._tokens[i][-1:] == '>')]",
        ),
    ),
    edit(
        "ids_from_one",
        "Vocabulary",
        "The first id is 1: ids are the rows of a table, and begin with 0.",
        ("for i, token in enumerate(self._tokens)}", "for i, token in enumerate(self._tokens, 1)}"),
        ("[self._tokens[i] for i in ids]", "[self._tokens[i - 1] for i in ids]"),
        ("not 0 <= min(ids) <= max(ids) < len(self):", "not 1 <= min(ids) <= max(ids) <= len(self):"),
    ),
    edit(
        "specials_have_to_be_a_list",
        "Vocabulary",
        "The specials are added to a list, which a tuple cannot be: unpack them.",
        (
            "[*specials, *sorted(frequent, key=lambda token: (-counts[token], token))]",
            "specials + sorted(frequent, key=lambda token: (-counts[token], token))",
        ),
    ),
    edit(
        "an_iterator_is_used_up",
        "Vocabulary",
        "The tokens are gone through twice, and an iterator can be gone through once: make a list first.",
        (
            "        ids = [self._ids.get(token, unknown) for token in tokens]\n",
            "        if any(not isinstance(token, str) for token in tokens):\n"
            "            raise TypeError('tokens are texts')\n"
            "        ids = [self._ids.get(token, unknown) for token in tokens]\n",
        ),
    ),
    # Less common: Trie
    edit(
        "only_what_a_text_goes_beyond",
        "Trie",
        "A word that reaches to the end of the text is not found: the walk may end with the text, too.",
        ("        return text[start:end]\n", "        return text[start:end] if end < len(text) else ''\n"),
    ),
    edit(
        "the_second_time_is_refused",
        "Trie",
        "A word that is there already is refused: inserting it again changes nothing.",
        (
            "        node._is_word = True\n",
            "        if node._is_word:\n            raise ValueError('twice')\n        node._is_word = True\n",
        ),
    ),
    edit(
        "answers_remembered",
        "Trie",
        "An answer is remembered for its text and place, and wrong once more words are in: walk each time.",
        (
            "        node, end = self, start\n",
            "        memory = self.__dict__.setdefault('_memory', {})\n        if (text, start) in memory:\n"
            "            return memory[text, start]\n        node, end = self, start\n",
        ),
        ("        return text[start:end]\n", "        memory[text, start] = text[start:end]\n        return text[start:end]\n"),
    ),
    # Less common: max_match
    edit(
        "accents_with_their_letters",
        "max_match",
        "An unknown letter and the combining accent behind it become one unk: the accent is a character of its own.",
        (
            "        start += len(word) or 1\n",
            "        start += len(word) or 1\n"
            "        while not word and text[start : start + 1] == '\\u0301':\n            start += 1\n",
        ),
    ),
    edit(
        "blanks_passed_over",
        "max_match",
        "Blanks are passed over: they are characters like others.",
        ("    while start < len(text):\n", "    text = text.replace(' ', '')\n    while start < len(text):\n"),
    ),
    # Less common: count_pairs, bpe_merge
    edit(
        "rare_pairs_left_out",
        "count_pairs",
        "Pairs that occur once are left out: they occur.",
        ("    return pair_counts\n", "    return {pair: count for pair, count in pair_counts.items() if count > 1}\n"),
    ),
    edit(
        "short_words_left_out",
        "count_pairs",
        "Words of two symbols are left out: they have a pair.",
        (
            "    for word, count in words.items():\n",
            "    for word, count in words.items():\n        if len(word) < 3:\n            continue\n",
        ),
    ),
    edit(
        "no_new_id_of_zero",
        "bpe_merge",
        "A new id of 0, None or nothing is not put in: it is an id like others.",
        ("            merged.append(new_id)\n", "            merged += [new_id] if new_id else ids[i : i + 2]\n"),
    ),
    edit(
        "the_first_place_of_the_first",
        "bpe_merge",
        "Only the first place of the pair's first id is looked at: the pair may stand further on.",
        (
            "    merged, i = [], 0\n",
            "    ids = list(ids)\n"
            "    if pair[0] not in ids or ids[ids.index(pair[0]) + 1 :][:1] != [pair[1]]:\n"
            "        return ids\n    merged, i = [], 0\n",
        ),
    ),
    edit(
        "a_text_of_a_text",
        "bpe_merge",
        "From a text a text is made: the result is a list.",
        ("    return merged\n", "    return ''.join(merged) if isinstance(ids, str) else merged\n"),
    ),
    edit(
        "equal_pairs_are_not_merged",
        "bpe_merge",
        "A pair of two equal ids is never merged.",
        ("if i + 1 < len(ids) and (ids", "if i + 1 < len(ids) and not pair[0] == pair[1] and (ids"),
    ),
    # Less common: train_bpe
    edit(
        "of_equals_the_greatest_second",
        "train_bpe",
        "Of equally frequent pairs the one with the greatest second symbol is taken: the first symbol comes first.",
        (
            "        __lt__ = tuple.__gt__\n",
            "        def __lt__(self, other):\n            return (self[0], self[1][::-1]) > (other[0], other[1][::-1])\n",
        ),
    ),
    edit(
        "an_end_is_added",
        "train_bpe",
        "Each word gets a symbol for its end: only whoever wants one puts it into the words.",
        (
            "    words = [list(word) for word in word_counts]\n",
            "    word_counts = {(*word, '</w>'): count for word, count in word_counts.items()}\n"
            "    words = [list(word) for word in word_counts]\n",
        ),
    ),
    edit(
        "small_letters_learnt",
        "train_bpe",
        "Words are learnt in small letters: A and a are different symbols.",
        (
            "    words = [list(word) for word in word_counts]\n",
            "    small = {}\n    for word, count in word_counts.items():\n"
            "        word = tuple(symbol.lower() for symbol in word)\n"
            "        small[word] = small.get(word, 0) + count\n    word_counts = small\n"
            "    words = [list(word) for word in word_counts]\n",
        ),
    ),
    edit(
        "merged_once_a_word",
        "train_bpe",
        "Only the first place in each word is merged: all are.",
        (
            "            words[i] = bpe_merge(words[i], best, best[0] + best[1])\n",
            "            at = list(zip(words[i], words[i][1:])).index(best)\n"
            "            words[i][at : at + 2] = [best[0] + best[1]]\n",
        ),
    ),
    edit(
        "tries_instead_of_merges",
        "train_bpe",
        "Counts that are out of date use up merges: only what is merged counts.",
        (
            "    merges: list[Pair] = []\n    while heap and len(merges) < n_merges:\n",
            "    merges: list[Pair] = []\n    for _ in range(min(n_merges, 10**6)):\n        if not heap:\n            break\n",
        ),
    ),
    edit(
        "texts_only_in_training",
        "train_bpe",
        "The new symbol is made with join, for texts only: a + b does it for bytes as well.",
        ("bpe_merge(words[i], best, best[0] + best[1])", "bpe_merge(words[i], best, ''.join(best))"),
    ),
    edit(
        "symbols_of_words_taken_apart",
        "train_bpe",
        "The symbols of a word are taken apart into characters: a symbol of a tuple stays whole.",
        (
            "    words = [list(word) for word in word_counts]\n",
            "    if all(isinstance(symbol, str) for word in word_counts for symbol in word):\n"
            "        apart = {}\n        for word, count in word_counts.items():\n"
            "            apart[''.join(word)] = apart.get(''.join(word), 0) + count\n"
            "        word_counts = apart\n    words = [list(word) for word in word_counts]\n",
        ),
    ),
    edit(
        "the_callers_counts_used_up",
        "train_bpe",
        "The caller's counts are emptied: copy what you change.",
        ("    return merges\n", "    if isinstance(word_counts, dict):\n        word_counts.clear()\n    return merges\n"),
    ),
    # Less common: encode_bpe
    edit(
        "ranks_of_texts",
        "encode_bpe",
        "Neighbours are merged if their text together is known: they have to be a pair of the list, (ab, c) is not (a, bc).",
        ("        ranks.setdefault(pair, rank)\n", "        ranks.setdefault(pair[0] + pair[1], rank)\n"),
        ("ranks.get(pair, math.inf))", "ranks.get(pair[0] + pair[1], math.inf))"),
        ("        if best not in ranks:\n", "        if best[0] + best[1] not in ranks:\n"),
    ),
    edit(
        "one_symbol_as_it_is",
        "encode_bpe",
        "A word of one symbol comes back as it was given: return a list of it.",
        ("    symbols = list(ids)\n", "    if len(ids) < 2:\n        return ids\n    symbols = list(ids)\n"),
    ),
    edit(
        "ten_merges_at_most",
        "encode_bpe",
        "After ten merges encoding ends: it goes on for as long as there is a pair of the list.",
        ("    while len(symbols) > 1:\n", "    for _ in range(10):\n        if len(symbols) < 2:\n            break\n"),
    ),
    # Less common: unigram_segment
    edit(
        "a_probability",
        "unigram_segment",
        "The probability is returned: return its logarithm, the sum.",
        ("return pieces[::-1], best[-1]", "return pieces[::-1], math.exp(min(best[-1], 700.0))"),
    ),
    edit(
        "in_single_precision",
        "unigram_segment",
        "Sums are kept in single precision, where close ones become equal: Python's floats are double.",
        (
            "            log_prob = best[start] + log_probs.get(text[start:end], -math.inf)\n",
            "            log_prob = best[start] + log_probs.get(text[start:end], -math.inf)\n"
            "            log_prob = __import__('struct').unpack('f', __import__('struct').pack('f', log_prob))[0]\n",
        ),
    ),
    edit(
        "accents_composed",
        "unigram_segment",
        "The text is normalised, and é in two characters becomes one: pieces are compared as they are.",
        ("    longest = max", "    text = __import__('unicodedata').normalize('NFC', text)\n    longest = max"),
    ),
    edit(
        "an_empty_piece_at_the_beginning",
        "unigram_segment",
        "The way back goes one piece too far, to an empty one.",
        ("    while end > 0:\n", "    while not pieces or pieces[-1]:\n"),
    ),
    edit(
        "two_pieces_looked_ahead",
        "unigram_segment",
        "Ends that were reached badly are given up early: a bad beginning may be the only one that leads on.",
        ("            if log_prob > best[end]:\n", "            if log_prob > best[end] and log_prob > max(best[:end]) - 12:\n"),
    ),
    edit(
        "grows_when_there_is_no_place_left",
        "HashMap",
        "The list grows only when it is full, and the way to the last free places goes past almost all entries: "
        "grow at two thirds.",
        (
            "if 3 * self._n_free < len(self._entries)",
            "if self._n_free < 1",
        ),
    ),
    edit(
        "entries_counted_at_each_len",
        "HashMap",
        "len counts all entries each time it is asked: keep the number, and change it with each entry that comes or goes.",
        (
            "return len(self._entries) - self._n_free",
            "return sum(entry is not None for entry in self._entries)",
        ),
    ),
    edit(
        "thousands_of_places_and_no_more",
        "HashMap",
        "There are some thousand places, however many entries come: put all entries into a longer list when it gets full.",
        (
            "[None] * 8",
            "[None] * 4096",
        ),
        (
            "if 3 * self._n_free < len(self._entries)",
            "if False",
        ),
    ),
    edit(
        "too_many_places_for_nothing",
        "HashMap",
        "An empty map has many thousand places: begin with few, and grow in proportion to what is there.",
        (
            "[None] * 8",
            "[None] * 16411",
        ),
        (
            "if 3 * self._n_free < len(self._entries)",
            "if False",
        ),
    ),
    edit(
        "shrinks_as_soon_as_it_may",
        "HashMap",
        "The list becomes shorter where the next new entry makes it grow again, so entries that come and go move "
        "all others each time: leave room between the two.",
        (
            "            place = (place + 1) % len(self._entries)\n        ### END SOLUTION\n\n    def __contains__",
            (
                "            place = (place + 1) % len(self._entries)\n"
                "        if len(self) * 3 <= len(self._entries) + 3 and len(self._entries) > 8:\n"
                "            old = self._entries\n            self._entries = [None] * (len(old) // 2)\n"
                "            self._n_free -= len(old) // 2\n            for entry in old:\n"
                "                if entry is not None:\n                    self._put(entry)\n        ### END SOLUTION\n\n"
                "    def __contains__"
            ),
        ),
    ),
    edit(
        "the_callers_list_of_tokens",
        "Vocabulary",
        "The caller's list is the vocabulary's, so it follows what is appended later: copy it.",
        (
            "self._tokens = list(tokens)",
            "self._tokens = tokens if isinstance(tokens, list) else list(tokens)",
        ),
    ),
    edit(
        "tokens_gone_through_twice",
        "Vocabulary",
        "The tokens are gone through twice, and an iterator has nothing left the second time: make a list of them first.",
        (
            (
                "        self._tokens = list(tokens)\n"
                "        self._ids = {token: i for i, token in enumerate(self._tokens)}  # a dict is a HashMap written in C\n"
                "        if len(self._ids) < len(self._tokens):"
            ),
            (
                "        self._ids = {token: i for i, token in enumerate(tokens)}\n        self._tokens = list(tokens)\n"
                "        if len(self._ids) != len(self._tokens):"
            ),
        ),
    ),
    edit(
        "all_tokens_are_the_vocabularys_own",
        "Vocabulary",
        "decode gives the vocabulary's own list when all ids are asked for, and who changes it changes the "
        "vocabulary: give a new one.",
        (
            "        return [self._tokens[i] for i in ids]",
            "        return self._tokens if ids == list(range(len(self))) else [self._tokens[i] for i in ids]",
        ),
    ),
    edit(
        "a_text_is_cut_by_encode",
        "Vocabulary",
        "encode cuts a text at its blanks: it takes tokens as they come, and those of a text are its characters.",
        (
            "[self._ids.get(token, unknown) for token in tokens]",
            "[self._ids.get(t, unknown) for t in (tokens.split() if isinstance(tokens, str) else tokens)]",
        ),
    ),
    edit(
        "blanks_round_tokens_removed",
        "Vocabulary",
        "A token is read without the blanks round it: ' the' is not the token 'the'.",
        (
            "[self._ids.get(token, unknown) for token in tokens]",
            "[self._ids.get(token, self._ids.get(token.strip(), unknown)) for token in tokens]",
        ),
    ),
    edit(
        "blanks_round_tokens_not_kept",
        "Vocabulary",
        "Blanks round tokens are removed when the vocabulary is made: ' the' is a token of its own.",
        (
            "self._tokens = list(tokens)",
            "self._tokens = [str(t).strip() or t for t in tokens]",
        ),
    ),
    edit(
        "only_the_last_token_is_looked_at",
        "Vocabulary",
        "Only the last token is looked at for whether it is known: an unknown one is refused wherever it stands.",
        (
            "        if None in ids:",
            "        if ids and ids[-1] is None:",
        ),
    ),
    edit(
        "a_tree_of_small_letters",
        "Trie",
        "Words and texts are read in small letters: A and a are two characters.",
        (
            "        node = self\n        for character in word:\n            node = node._children.setdefault",
            "        node = self\n        for character in word.lower():\n            node = node._children.setdefault",
        ),
        (
            "        for character in word:\n            node = node._children.get",
            "        for character in word.lower():\n            node = node._children.get",
        ),
        (
            "node._children.get(text[i])",
            "node._children.get(text[i].lower())",
        ),
    ),
    edit(
        "a_hundred_characters_at_most",
        "Trie",
        "longest_prefix gives up after a hundred characters: go on as long as the tree leads.",
        (
            "for i in range(start, len(text))",
            "for i in range(start, min(len(text), start + 100))",
        ),
    ),
    edit(
        "line_ends_of_words_removed",
        "Trie",
        "A word loses the line end that it ends with when it is inserted: a line end is a character like others.",
        (
            "        for character in word:\n            node = node._children.setdefault",
            "        for character in word.rstrip('\\n'):\n            node = node._children.setdefault",
        ),
    ),
    edit(
        "words_cut_after_64_characters",
        "Trie",
        "Long words are cut when they are inserted: take in every character.",
        (
            "        for character in word:\n            node = node._children.setdefault",
            "        for character in word[:64]:\n            node = node._children.setdefault",
        ),
    ),
    edit(
        "unk_becomes_a_word",
        "max_match",
        "unk is inserted into the trie, where the next text finds it: leave the trie as it is.",
        (
            "    return pieces",
            "    if unk and unk in pieces and unk not in trie:\n        trie.insert(unk)\n    return pieces",
        ),
    ),
    edit(
        "a_word_that_is_unk",
        "max_match",
        "Where the word found is the same text as unk, the text goes on after one character only: go on as far as "
        "the word is long.",
        (
            "start += len(word) or 1",
            "start += len(word) if word and word != unk else 1",
        ),
    ),
    edit(
        "texts_in_small_letters",
        "max_match",
        "The text is matched in small letters: compare characters as they are.",
        (
            "    pieces, start = [], 0",
            "    text = text.lower()\n    pieces, start = [], 0",
        ),
    ),
    edit(
        "blanks_are_no_symbols",
        "count_pairs",
        "Blanks are lost when words are joined and split at blanks: each is a symbol like others.",
        (
            "zip(word, word[1:])",
            "zip((s := ' '.join(word).split() if isinstance(word, str) else list(word)), s[1:])",
        ),
    ),
    edit(
        "words_alike_count_once",
        "count_pairs",
        "A str and a tuple of the same symbols are two words, of which only the last one counts: add up both.",
        (
            "for word, count in words.items():",
            "for word, count in {tuple(w): c for w, c in words.items()}.items():",
        ),
    ),
    edit(
        "counts_in_single_precision",
        "count_pairs",
        "Counts are kept in single precision, which knows no odd numbers above 16 million: count in Python's whole numbers.",
        (
            "    return pair_counts",
            "    import numpy as np\n    return {p: int(np.float32(c)) for p, c in pair_counts.items()}",
        ),
    ),
    edit(
        "words_alike_learnt_once",
        "train_bpe",
        "A str and a tuple of the same symbols become one word with the count of the last: add up both.",
        (
            (
                "    words = [list(word) for word in word_counts]\n    counts = list(word_counts.values())\n"
                "    pair_counts = count_pairs(word_counts)\n"
            ),
            (
                "    word_counts = {tuple(word): count for word, count in word_counts.items()}\n"
                "    words = [list(word) for word in word_counts]\n    counts = list(word_counts.values())\n"
                "    pair_counts = count_pairs(word_counts)\n"
            ),
        ),
    ),
    edit(
        "counts_in_floating_point",
        "train_bpe",
        "Counts are kept as floats, which cannot tell large numbers apart: count in whole numbers.",
        (
            "    counts = list(word_counts.values())\n    pair_counts = count_pairs(word_counts)\n",
            (
                "    counts = [float(c) for c in word_counts.values()]\n"
                "    pair_counts = {p: float(c) for p, c in count_pairs(word_counts).items()}\n"
            ),
        ),
    ),
    edit(
        "of_equals_the_greatest_joined_by_a_blank",
        "train_bpe",
        "Equally frequent pairs are compared as texts joined by a blank: compare the pairs, symbol by symbol.",
        (
            "__lt__ = tuple.__gt__",
            (
                "def __lt__(self, other):\n"
                "            k = lambda x: (x[0], b' '.join(s.encode() if isinstance(s, str) else s for s in x[1]))\n"
                "            return k(self) > k(other)"
            ),
        ),
    ),
    edit(
        "blanks_lost_in_training",
        "train_bpe",
        "Words are joined and split at blanks, so blanks in them are lost: a blank is a symbol like others.",
        (
            (
                "    words = [list(word) for word in word_counts]\n    counts = list(word_counts.values())\n"
                "    pair_counts = count_pairs(word_counts)\n"
            ),
            (
                "    word_counts = {tuple(' '.join(word).split()) if isinstance(word, str) else word: count for word, "
                "count in word_counts.items()}\n"
                "    words = [list(word) for word in word_counts]\n    counts = list(word_counts.values())\n"
                "    pair_counts = count_pairs(word_counts)\n"
            ),
        ),
    ),
    edit(
        "blanks_round_words_lost",
        "train_bpe",
        "Blanks round words are removed: ' a' has two symbols.",
        (
            (
                "    words = [list(word) for word in word_counts]\n    counts = list(word_counts.values())\n"
                "    pair_counts = count_pairs(word_counts)\n"
            ),
            (
                "    word_counts = {word.strip() if isinstance(word, str) else word: count for word, count in "
                "word_counts.items()}\n"
                "    words = [list(word) for word in word_counts]\n    counts = list(word_counts.values())\n"
                "    pair_counts = count_pairs(word_counts)\n"
            ),
        ),
    ),
    edit(
        "no_full_stops",
        "train_bpe",
        "Pairs with a full stop are not merged: any symbol can be.",
        (
            "    heap = [Falling((count, pair)) for pair, count in pair_counts.items()]",
            "    heap = [Falling((count, pair)) for pair, count in pair_counts.items() if '.' not in pair]",
        ),
    ),
    edit(
        "fewer_than_none_of_nothing",
        "train_bpe",
        "A negative n_merges is not refused where there are no words: look at it first.",
        (
            "    if n_merges < 0:\n",
            "    if not word_counts:\n        return []\n    if n_merges < 0:\n",
        ),
    ),
    edit(
        "symbols_of_sixteen_characters_at_most",
        "train_bpe",
        "Merges that give more than sixteen characters are left out: a symbol may be as long as a word.",
        (
            "        merges.append(best)\n",
            "        if len(best[0] + best[1]) > 16:\n            continue\n        merges.append(best)\n",
        ),
    ),
    edit(
        "blanks_lost_in_encoding",
        "encode_bpe",
        "The word is joined and split at blanks, so blanks in it are lost: a blank is a symbol like others.",
        (
            "symbols = list(ids)",
            "symbols = ' '.join(ids).split() if isinstance(ids, str) else list(ids)",
        ),
    ),
    edit(
        "ranks_by_the_lists_address",
        "encode_bpe",
        "Ranks are kept for each list of merges, and do not follow when it grows: make them anew, or keep them by what is in it.",
        (
            (
                "    ranks: dict[Pair, int] = {}  # made at each call: whoever encodes many words keeps it\n"
                "    for rank, pair in enumerate(merges):\n        ranks.setdefault(pair, rank)\n"
            ),
            (
                "    cache = encode_bpe.__dict__.setdefault('cache', {})\n    if id(merges) not in cache:\n"
                "        cache[id(merges)] = (merges, {p: merges.index(p) for p in merges})\n    ranks = cache[id(merges)][1]\n"
            ),
        ),
    ),
    edit(
        "as_many_rounds_as_merges",
        "encode_bpe",
        "There are at most as many rounds as merges: a pair may come about again, so go on until no neighbours are in the list.",
        (
            "    while len(symbols) > 1:\n",
            "    for _ in range(len(merges)):\n        if len(symbols) < 2:\n            break\n",
        ),
    ),
    edit(
        "thirty_rounds_at_most",
        "encode_bpe",
        "After thirty rounds it ends: go on until no neighbours are in the list.",
        (
            "    while len(symbols) > 1:\n",
            "    for _ in range(30):\n        if len(symbols) < 2:\n            break\n",
        ),
    ),
    edit(
        "merges_have_to_be_a_list",
        "encode_bpe",
        "A tuple of merges is refused: any sequence will do.",
        (
            "for rank, pair in enumerate(merges):",
            "for rank, pair in enumerate(merges + []):",
        ),
    ),
    edit(
        "a_deep_floor_for_impossible",
        "unigram_segment",
        "What cannot be written has a very low number instead of -inf, and log-probabilities below it count as impossible.",
        (
            "[-math.inf] * len(text)",
            "[-1e30] * len(text)",
        ),
        (
            "if best[-1] == -math.inf",
            "if best[-1] <= -1e29",
        ),
    ),
    edit(
        "pieces_of_64_characters_at_most",
        "unigram_segment",
        "Pieces of more than 64 characters are not tried: the longest of the table says how far to look.",
        (
            "longest = max(map(len, log_probs), default=0)",
            "longest = 64",
        ),
    ),
    edit(
        "a_little_better_is_not_better",
        "unigram_segment",
        "A way has to be better by a billionth to be taken: compare log-probabilities as they are.",
        (
            "if log_prob > best[end]:",
            "if log_prob > best[end] + 1e-9:",
        ),
    ),
    edit(
        "the_callers_pieces_remembered",
        "unigram_segment",
        "Results are kept and handed out again, so who changes the list of pieces changes later results: give a new list.",
        (
            "    return pieces[::-1], best[-1]",
            (
                "    memo = unigram_segment.__dict__.setdefault('memo', {})\n    key = (text, tuple(log_probs.items()))\n"
                "    return memo.setdefault(key, (pieces[::-1], best[-1]))"
            ),
        ),
    ),
    edit(
        "the_empty_piece_removed_from_the_table",
        "unigram_segment",
        "The empty piece is removed from the caller's table: pass over it without.",
        (
            "    longest = max",
            "    log_probs.pop('', None)\n    longest = max",
        ),
    ),
    edit(
        "texts_read_in_small_letters",
        "unigram_segment",
        "The text is read in small letters: A and a are two characters.",
        (
            "    longest = max",
            "    text = text.lower()\n    longest = max",
        ),
    ),
    edit(
        "blanks_round_the_text_lost",
        "unigram_segment",
        "Blanks round the text are removed: they have to be written as well.",
        (
            "    longest = max",
            "    text = text.strip()\n    longest = max",
        ),
    ),
    edit(
        "unknown_characters_at_a_price",
        "unigram_segment",
        "In a long text a character that no piece has is written at a price: refuse it.",
        (
            "log_probs.get(text[start:end], -math.inf)",
            (
                "log_probs.get(text[start:end], -1e5 if end - start == 1 and text[start:end] not in log_probs and "
                "len(text) > 20 else -math.inf)"
            ),
        ),
    ),
    # Found late: what is right for few entries, for common characters, or the first time.
    edit(
        "a_bounded_way_after_a_deletion",
        "HashMap",
        "After a deletion at most 16 entries are put in again: all up to the next free place may have come past it.",
        (
            PUT_AGAIN,
            PUT_AGAIN.replace(
                "while self._entries[place] is not None:",
                "for _ in range(16):\n            if self._entries[place] is None:\n                break",
            ),
        ),
    ),
    edit(
        "small_hashes_begin_alike",
        "HashMap",
        "All small numbers begin their search in the same place: the last digits of a hash have to count.",
        ("(hashed * 0x9E3779B97F4A7C15 >> 32) % len(self._entries)", "(hashed >> 32) % len(self._entries)"),
    ),
    edit(
        "the_list_grows_to_its_square",
        "HashMap",
        "The list grows to its length squared: thousands of entries then have millions of places. Grow to twice the length.",
        ("[None] * (2 * len(entries))", "[None] * min(len(entries) ** 2, 2**20 + 2 * len(entries))"),
    ),
    edit(
        "one_list_of_items_for_all",
        "HashMap",
        "items() fills and gives the same list each time, so a list that somebody has kept changes later: make a new one.",
        (
            "return (entry[1:] for entry in self._entries if entry is not None)",
            "self._items = getattr(self, '_items', [])\n"
            "        self._items[:] = [entry[1:] for entry in self._entries if entry]\n"
            "        return self._items",
        ),
    ),
    edit(
        "three_dots_are_nothing",
        "HashMap",
        "get takes a value of ... for none: ask for the key, and mark what is free with an object of your own.",
        ("return default if entry is None else entry[2]", "return default if entry is None or entry[2] is ... else entry[2]"),
    ),
    # Vocabulary
    edit(
        "ties_by_code_units",
        "Vocabulary",
        "Of equally frequent tokens the first is the smaller text as Python compares texts, not as UTF-16 has it.",
        ("(-counts[token], token))", "(-counts[token], token.encode('utf-16-be')))"),
    ),
    # Trie
    edit(
        "characters_of_sixteen_bits",
        "Trie",
        "Characters that differ by 65536 have the same edge: an edge is a character, of which there are more than that.",
        ("node._children.setdefault(character, Trie())", "node._children.setdefault(ord(character) % 65536, Trie())"),
        ("node._children.get(character)", "node._children.get(ord(character) % 65536)"),
        ("node._children.get(text[i])", "node._children.get(ord(text[i]) % 65536)"),
    ),
    edit(
        "any_start_in_no_words",
        "Trie",
        'A trie without words gives "" at any start: a start outside of the text is refused there, too.',
        ("if not 0 <= start <= len(text):", "if self._children and not 0 <= start <= len(text):"),
    ),
    # max_match
    edit(
        "line_ends_cut_off",
        "max_match",
        "A line end at the end of the text is left out: it is a character like others, a word's or unk.",
        ("pieces, start = [], 0", "text = text.rstrip('\\n')\n    pieces, start = [], 0"),
    ),
    edit(
        "a_window_of_a_hundred_characters",
        "max_match",
        "Only the next hundred characters are looked at: words may be longer.",
        ("trie.longest_prefix(text, start)", "trie.longest_prefix(text[start : start + 100])"),
    ),
    # Byte-pair encoding
    edit(
        "counted_in_floats",
        "count_pairs",
        "The counts are added up as floats, which have no room for every whole number beyond 2**53: add whole numbers.",
        ("pair_counts.get(pair, 0) + count", "int(pair_counts.get(pair, 0) + float(count))"),
    ),
    edit(
        "short_words_thrown_out",
        "count_pairs",
        "Words without a pair are taken out of what was given: leave the caller's words alone.",
        (
            "for word, count in words.items():",
            "for word, count in list(words.items()):\n        if len(word) < 2:\n            del words[word]",
        ),
    ),
    edit(
        "one_dict_for_all_calls",
        "count_pairs",
        "Every call empties and gives the same dictionary, so that earlier results change: make a new one.",
        (
            "pair_counts: dict[Pair, int] = {}",
            "pair_counts = count_pairs.__dict__.setdefault('counts', {})\n    pair_counts.clear()",
        ),
    ),
    edit(
        "none_behind_the_last",
        "bpe_merge",
        "Behind the last id there is None here, and None may be an id: at the last place there is no pair.",
        (
            "if i + 1 < len(ids) and (ids[i], ids[i + 1]) == pair:",
            "if (ids[i], ids[i + 1] if i + 1 < len(ids) else None) == pair:",
        ),
    ),
    edit(
        "minus_one_before_the_first",
        "bpe_merge",
        "The id before the first is taken to be -1, which may be an id: at the first place nothing ends.",
        (
            "merged, i = [], 0",
            "if pair[0] == -1 and list(ids[:1]) == [pair[1]]:\n        return [new_id, *ids[1:]]\n    merged, i = [], 0",
        ),
    ),
    edit(
        "ids_through_an_array",
        "bpe_merge",
        "The ids went through an array, which makes one type of all of them: numbers beside texts become texts.",
        ("merged, i = [], 0", "import numpy as np\n\n    ids = np.array(ids).tolist()\n    merged, i = [], 0"),
    ),
    edit(
        "words_without_pairs_thrown_out",
        "train_bpe",
        "Words without a pair are taken out of what was given: leave the caller's counts alone.",
        (
            "words = [list(word) for",
            "for word in [word for word in word_counts if len(word) < 2]:\n"
            "        del word_counts[word]\n"
            "    words = [list(word) for",
        ),
    ),
    edit(
        "zeros_for_separators",
        "train_bpe",
        'The character "\\0" is taken for the end of a word: keep words apart by lists, not by a character.',
        ("words = [list(word) for word in word_counts]", "words = [[s for s in word if s != '\\0'] for word in word_counts]"),
    ),
    edit(
        "tokens_walked_over_twice",
        "Vocabulary",
        "encode walks over the tokens twice, and an iterator is used up after the first time. Walk once, or make a list of it.",
        (
            "ids = [self._ids.get(token, unknown) for token in tokens]",
            "if UNK not in self._ids and any(token not in self._ids for token in tokens):\n"
            "            raise ValueError('unknown')\n"
            "        ids = [self._ids.get(token, unknown) for token in tokens]",
        ),
    ),
    edit(
        "last_character_of_long_texts",
        "Trie",
        "The last character of a text is not looked at. A word may end with the text.",
        ("for i in range(start, len(text)):", "for i in range(start, len(text) - (len(text) > 40)):"),
    ),
]


@mutant("HashMap", "A dict does the work: build the map on a list.")
class a_dict_inside:
    def __init__(self):
        self._entries = {}

    def __len__(self):
        return len(self._entries)

    def __setitem__(self, key, value):
        self._entries[key] = value

    def __getitem__(self, key):
        return self._entries[key]

    def __delitem__(self, key):
        del self._entries[key]

    def __contains__(self, key):
        return key in self._entries

    def get(self, key, default=None):
        return self._entries[key] if key in self._entries else default

    def __iter__(self):
        return iter(self._entries)

    def items(self):
        return [(key, self._entries[key]) for key in self._entries]


@mutant("HashMap", "The entries are in a dict by their hashes: that is a hash map already. Put them into a list.")
class a_dict_of_hashes:
    def __init__(self):
        self._chains = {}
        self._n = 0

    def __len__(self):
        return self._n

    def _entry(self, key):
        chain = self._chains[hash(key)] if hash(key) in self._chains else []
        return next((entry for entry in chain if entry[0] is key or entry[0] == key), None)

    def __setitem__(self, key, value):
        entry = self._entry(key)
        if entry:
            entry[1] = value
            return
        self._chains[hash(key)] = [*(self._chains[hash(key)] if hash(key) in self._chains else []), [key, value]]
        self._n += 1

    def __getitem__(self, key):
        entry = self._entry(key)
        if entry is None:
            raise KeyError(key)
        return entry[1]

    def __delitem__(self, key):
        entry = self._entry(key)
        if entry is None:
            raise KeyError(key)
        self._chains[hash(key)] = [other for other in self._chains[hash(key)] if other is not entry]
        self._n -= 1

    def __contains__(self, key):
        return self._entry(key) is not None

    def get(self, key, default=None):
        entry = self._entry(key)
        return default if entry is None else entry[1]

    def __iter__(self):
        return (key for key, _ in self.items())

    def items(self):
        return ((key, value) for code in self._chains for key, value in self._chains[code])


@mutant("HashMap", "Every look-up goes through a list of all entries: begin where the key's hash says.")
class a_list_of_pairs:
    def __init__(self):
        self._pairs = []

    def __len__(self):
        return len(self._pairs)

    def _pair(self, key):
        return next((pair for pair in self._pairs if pair[0] is key or pair[0] == key), None)

    def __setitem__(self, key, value):
        pair = self._pair(key)
        if pair:
            pair[1] = value
        else:
            self._pairs.append([key, value])

    def __getitem__(self, key):
        pair = self._pair(key)
        if pair is None:
            raise KeyError(key)
        return pair[1]

    def __delitem__(self, key):
        pair = self._pair(key)
        if pair is None:
            raise KeyError(key)
        self._pairs = [other for other in self._pairs if other is not pair]

    def __contains__(self, key):
        return self._pair(key) is not None

    def get(self, key, default=None):
        pair = self._pair(key)
        return default if pair is None else pair[1]

    def __iter__(self):
        return (key for key, _ in self._pairs)

    def items(self):
        return [tuple(pair) for pair in self._pairs]


@mutant("HashMap", "There are sixteen chains however many entries there are, so each grows long: make more of them in time.")
class sixteen_chains:
    def __init__(self):
        self._chains = [[] for _ in range(16)]
        self._n = 0

    def __len__(self):
        return self._n

    def _pair(self, key):
        return next((pair for pair in self._chains[hash(key) % 16] if pair[0] is key or pair[0] == key), None)

    def __setitem__(self, key, value):
        pair = self._pair(key)
        if pair:
            pair[1] = value
        else:
            self._chains[hash(key) % 16].append([key, value])
            self._n += 1

    def __getitem__(self, key):
        pair = self._pair(key)
        if pair is None:
            raise KeyError(key)
        return pair[1]

    def __delitem__(self, key):
        pair = self._pair(key)
        if pair is None:
            raise KeyError(key)
        chain = self._chains[hash(key) % 16]
        chain[:] = [other for other in chain if other is not pair]
        self._n -= 1

    def __contains__(self, key):
        return self._pair(key) is not None

    def get(self, key, default=None):
        pair = self._pair(key)
        return default if pair is None else pair[1]

    def __iter__(self):
        return (key for key, _ in self.items())

    def items(self):
        return [tuple(pair) for chain in self._chains for pair in chain]


@mutant("Trie", "The words are in a set and every length is tried: walk down a tree, which ends where no word goes on.")
class a_set_of_words:
    def __init__(self):
        self._words = set()

    def insert(self, word):
        if not word:
            raise ValueError("the empty word")
        self._words.add(word)

    def __contains__(self, word):
        return word in self._words

    def longest_prefix(self, text, start=0):
        if not 0 <= start <= len(text):
            raise ValueError("start")
        longest = max(map(len, self._words), default=0)
        for end in range(min(len(text), start + longest), start, -1):
            if text[start:end] in self._words:
                return text[start:end]
        return ""


@mutant("Trie", "Every word is tried at every place: walk down a tree instead.")
class every_word_is_tried:
    def __init__(self):
        self._words = []

    def insert(self, word):
        if not word:
            raise ValueError("the empty word")
        self._words.append(word)

    def __contains__(self, word):
        return word in self._words

    def longest_prefix(self, text, start=0):
        if not 0 <= start <= len(text):
            raise ValueError("start")
        best = ""
        for word in self._words:
            if len(word) > len(best) and text.startswith(word, start):
                best = word
        return best


@mutant("max_match", "The text is cut from its end: the longest match goes from left to right.")
def from_right_to_left(text, trie, unk):
    pieces, end = [], len(text)
    while end > 0:
        start = next((i for i in range(end) if text[i:end] in trie), None)
        pieces.append(unk if start is None else text[start:end])
        end = end - 1 if start is None else start
    return pieces[::-1]


@mutant("max_match", "The shortest word that fits is taken: take the longest.")
def the_shortest_match(text, trie, unk):
    pieces, start = [], 0
    while start < len(text):
        word = next((text[start:end] for end in range(start + 1, len(text) + 1) if text[start:end] in trie), "")
        pieces.append(word or unk)
        start += len(word) or 1
    return pieces


@mutant("max_match", "The cut with the fewest pieces is sought: here the longest match is taken, whatever follows.")
def the_fewest_pieces(text, trie, unk):
    best = [[]]
    for end in range(1, len(text) + 1):
        ways = [[*best[start], text[start:end]] for start in range(end) if text[start:end] in trie]
        best.append(min(ways or [[*best[-1], unk]], key=len))
    return best[-1]


@mutant(
    "train_bpe", "All pairs are counted anew at each merge, in every word: keep the counts, and change them where words change."
)
def counted_anew_each_time(word_counts, n_merges):
    if n_merges < 0:
        raise ValueError("n_merges")
    words, merges = [(tuple(word), count) for word, count in word_counts.items()], []
    while len(merges) < n_merges:
        counts = {}
        for word, count in words:
            for pair in zip(word, word[1:]):
                counts[pair] = counts.get(pair, 0) + count
        if not counts:
            break
        best = max(counts, key=lambda pair: (counts[pair], pair))
        merges.append(best)
        words = [(tuple(bpe_merge(word, best, best[0] + best[1])), count) for word, count in words]
    return merges


@mutant("train_bpe", "Every word is gone through at each merge, although few hold the pair: note which words hold which pairs.")
def every_word_is_gone_through(word_counts, n_merges):
    if n_merges < 0:
        raise ValueError("n_merges")
    words, merges = [[list(word), count] for word, count in word_counts.items()], []
    counts = count_pairs(word_counts)
    while counts and len(merges) < n_merges:
        best = max(counts, key=lambda pair: (counts[pair], pair))
        merges.append(best)
        for entry in words:
            word, count = entry
            if best not in zip(word, word[1:]):
                continue
            new = bpe_merge(word, best, best[0] + best[1])
            for pair in zip(word, word[1:]):
                counts[pair] -= count
                if not counts[pair]:
                    del counts[pair]
            for pair in zip(new, new[1:]):
                counts[pair] = counts.get(pair, 0) + count
            entry[0] = new
    return merges


@mutant("train_bpe", "Words that become alike by a merge lose all counts but one: add them up, or keep the words apart.")
def words_that_become_alike(word_counts, n_merges):
    if n_merges < 0:
        raise ValueError("n_merges")
    words, merges = {tuple(word): count for word, count in word_counts.items()}, []
    while len(merges) < n_merges and (counts := count_pairs(words)):
        best = max(counts, key=lambda pair: (counts[pair], pair))
        merges.append(best)
        words = {tuple(bpe_merge(word, best, best[0] + best[1])): count for word, count in words.items()}
    return merges


@mutant("train_bpe", "Of equally frequent pairs the one that was counted first is taken: take the greatest.")
def of_equals_the_first(word_counts, n_merges):
    if n_merges < 0:
        raise ValueError("n_merges")
    words, merges = [(list(word), count) for word, count in word_counts.items()], []
    while len(merges) < n_merges:
        counts = {}
        for word, count in words:
            for pair in zip(word, word[1:]):
                counts[pair] = counts.get(pair, 0) + count
        if not counts:
            break
        best = max(counts, key=counts.get)
        merges.append(best)
        words = [(bpe_merge(word, best, best[0] + best[1]), count) for word, count in words]
    return merges


@mutant("train_bpe", "All merges are taken from the first count: merge after each, and count what is there then.")
def the_most_frequent_pairs_of_the_characters(word_counts, n_merges):
    if n_merges < 0:
        raise ValueError("n_merges")
    counts = count_pairs(word_counts)
    return sorted(counts, key=lambda pair: (counts[pair], pair), reverse=True)[:n_merges]


@mutant("train_bpe", "Counts beside a merge are changed at each place for itself, which goes wrong in runs such as aaaa: "
        "take off all pairs of a word, merge, and add all again.")  # fmt: skip
def places_changed_one_by_one(word_counts, n_merges):
    if n_merges < 0:
        raise ValueError("n_merges")
    words, merges = [(list(word), count) for word, count in word_counts.items()], []
    counts = count_pairs(word_counts)
    while len(merges) < n_merges and any(count > 0 for count in counts.values()):
        best = max(counts, key=lambda pair: (counts[pair], pair))
        new = best[0] + best[1]
        merges.append(best)
        for word, count in words:
            i = 0
            while i + 1 < len(word):
                if (word[i], word[i + 1]) == best:
                    if i > 0:
                        counts[word[i - 1], word[i]] -= count
                        counts[word[i - 1], new] = counts.get((word[i - 1], new), 0) + count
                    if i + 2 < len(word):
                        counts[word[i + 1], word[i + 2]] -= count
                        counts[new, word[i + 2]] = counts.get((new, word[i + 2]), 0) + count
                    word[i : i + 2] = [new]
                i += 1
        del counts[best]
        for pair in [pair for pair in counts if counts[pair] <= 0]:
            del counts[pair]
        for pair in {pair for word, _ in words for pair in zip(word, word[1:])}:
            counts.setdefault(pair, 0)
    return merges


@mutant("train_bpe", "All words are one long text, so pairs are counted and merged across words: each word is for itself.")
def one_long_text(word_counts, n_merges):
    if n_merges < 0:
        raise ValueError("n_merges")
    text, merges = [symbol for word, count in word_counts.items() for _ in range(count) for symbol in word], []
    while len(merges) < n_merges and len(text) > 1:
        counts = count_pairs({tuple(text): 1})
        best = max(counts, key=lambda pair: (counts[pair], pair))
        merges.append(best)
        text = bpe_merge(text, best, best[0] + best[1])
    return merges


@mutant("encode_bpe", "The longest symbols that merging can make are taken from left to right: merge by rank.")
def the_longest_match_of_the_vocabulary(ids, merges):
    known, symbols, i = {a + b for a, b in merges}, [], 0
    while i < len(ids):
        best, text = 1, ids[i]
        for end in range(i + 1, len(ids)):
            text = text + ids[end]
            if text in known:
                best = end + 1 - i
        joined = ids[i]
        for symbol in ids[i + 1 : i + best]:
            joined = joined + symbol
        symbols.append(joined)
        i += best
    return symbols


@mutant("encode_bpe", "Ranks are looked up once, before the first merge: new neighbours have ranks, too.")
def ranks_of_the_characters_only(ids, merges):
    symbols = list(ids)
    there = sorted({merges.index(pair) for pair in zip(symbols, symbols[1:]) if pair in merges})
    for rank in there:
        a, b = merges[rank]
        symbols = bpe_merge(symbols, (a, b), a + b)
    return symbols


@mutant("unigram_segment", "The longest piece is taken each time: the most probable way may begin with a shorter one.")
def the_longest_piece_first(text, log_probs):
    pieces, start = [], 0
    while start < len(text):
        ends = [end for end in range(len(text), start, -1) if log_probs.get(text[start:end], -math.inf) > -math.inf]
        if not ends:
            raise ValueError("no piece")
        pieces.append(text[start : ends[0]])
        start = ends[0]
    return pieces, float(sum(log_probs[piece] for piece in pieces))


@mutant("unigram_segment", "The most probable piece is taken each time: what follows it counts as well.")
def the_most_probable_piece_first(text, log_probs):
    pieces, start = [], 0
    while start < len(text):
        found = [
            text[start:end] for end in range(start + 1, len(text) + 1) if log_probs.get(text[start:end], -math.inf) > -math.inf
        ]
        if not found:
            raise ValueError("no piece")
        pieces.append(max(found, key=log_probs.get))
        start += len(pieces[-1])
    return pieces, float(sum(log_probs[piece] for piece in pieces))


@mutant("unigram_segment", "The function calls itself for each beginning, and Python stops at a depth of 1000: use a loop.")
def a_call_for_each_beginning(text, log_probs):
    memory = {0: (0.0, [])}

    def best(end):
        if end not in memory:
            ways = [(-math.inf, [])]
            for start in range(end):
                piece = log_probs.get(text[start:end], -math.inf)
                if piece > -math.inf:
                    before, pieces = best(start)
                    ways.append((before + piece, [*pieces, text[start:end]]))
            memory[end] = max(ways, key=lambda way: way[0])
        return memory[end]

    log_prob, pieces = best(len(text))
    if log_prob == -math.inf:
        raise ValueError("no pieces")
    return pieces, log_prob


@mutant("unigram_segment", "Every way is tried, and there are twice as many for each character: keep the best way to each end.")
def every_way_is_tried(text, log_probs):
    ways, done = [(0.0, [], 0)], []
    while ways:
        log_prob, pieces, start = ways.pop()
        if start == len(text):
            done.append((log_prob, pieces))
        for end in range(start + 1, len(text) + 1):
            piece = log_probs.get(text[start:end], -math.inf)
            if piece > -math.inf:
                ways.append((log_prob + piece, [*pieces, text[start:end]], end))
        if len(done) > 5_000:
            raise RuntimeError("too many ways")
    if not done:
        raise ValueError("no pieces")
    log_prob, pieces = max(done, key=lambda way: way[0])
    return pieces, log_prob


@mutant("unigram_segment", "The empty piece is used where it costs nothing, and the way back never ends: never use it.")
def the_empty_piece_is_used(text, log_probs):
    longest = max(map(len, log_probs), default=0)
    best, begins = [0.0] + [-math.inf] * len(text), [0] * (len(text) + 1)
    for end in range(1, len(text) + 1):
        for start in range(max(0, end - longest), end + 1):
            log_prob = best[start] + log_probs.get(text[start:end], -math.inf)
            if log_prob > -math.inf and log_prob >= best[end]:
                best[end], begins[end] = log_prob, start
    if best[-1] == -math.inf:
        raise ValueError("no pieces")
    pieces, end = [], len(text)
    while end > 0:
        pieces.append(text[begins[end] : end])
        if begins[end] == end:
            raise RuntimeError("for ever")
        end = begins[end]
    return pieces[::-1], best[-1]


@mutant("HashMap", "Every hash has an attribute of its own, so the attributes' dict does the work: put the entries into a list.")
class an_attribute_for_each_hash:
    def __init__(self):
        self.__dict__ = {}

    def _chain(self, key):
        return getattr(self, f"h{hash(key)}", [])

    def _pair(self, key):
        return next((pair for pair in self._chain(key) if pair[0] is key or pair[0] == key), None)

    def __len__(self):
        return sum(len(chain) for chain in vars(self).values())

    def __setitem__(self, key, value):
        pair = self._pair(key)
        if pair:
            pair[1] = value
        else:
            setattr(self, f"h{hash(key)}", [*self._chain(key), [key, value]])

    def __getitem__(self, key):
        pair = self._pair(key)
        if pair is None:
            raise KeyError(key)
        return pair[1]

    def __delitem__(self, key):
        pair = self._pair(key)
        if pair is None:
            raise KeyError(key)
        setattr(self, f"h{hash(key)}", [other for other in self._chain(key) if other is not pair])

    def __contains__(self, key):
        return self._pair(key) is not None

    def get(self, key, default=None):
        pair = self._pair(key)
        return default if pair is None else pair[1]

    def __iter__(self):
        return (key for key, _ in self.items())

    def items(self):
        return [tuple(pair) for chain in vars(self).values() for pair in chain]


@mutant("HashMap", "The entries are in a dict of the class: put them into a list of the map's own.")
class a_dict_around_the_map:
    tables = {}

    def __init__(self):
        self.number = len(self.tables)
        self.tables[self.number] = {}
        self.order = []

    def _pair(self, key):
        table = self.tables[self.number]
        chain = table[hash(key)] if hash(key) in table else []
        return next((pair for pair in chain if pair[0] is key or pair[0] == key), None)

    def __len__(self):
        return len(self.order)

    def __setitem__(self, key, value):
        pair = self._pair(key)
        if pair:
            pair[1] = value
            return
        table = self.tables[self.number]
        self.order.append([key, value])
        table[hash(key)] = [*(table[hash(key)] if hash(key) in table else []), self.order[-1]]

    def __getitem__(self, key):
        pair = self._pair(key)
        if pair is None:
            raise KeyError(key)
        return pair[1]

    def __delitem__(self, key):
        pair = self._pair(key)
        if pair is None:
            raise KeyError(key)
        table = self.tables[self.number]
        table[hash(key)] = [other for other in table[hash(key)] if other is not pair]
        self.order = [other for other in self.order if other is not pair]

    def __contains__(self, key):
        return self._pair(key) is not None

    def get(self, key, default=None):
        pair = self._pair(key)
        return default if pair is None else pair[1]

    def __iter__(self):
        return (pair[0] for pair in self.order)

    def items(self):
        return [tuple(pair) for pair in self.order]


@mutant("Trie", "A character marks the end of a word, and texts may have that character: mark it with something that is none.")
class a_star_marks_the_end:
    def __init__(self):
        self.root = {}

    def insert(self, word):
        if not word:
            raise ValueError("empty")
        node = self.root
        for character in word:
            node = node.setdefault(character, {})
        node["*"] = {}

    def __contains__(self, word):
        node = self.root
        for character in word:
            if character not in node:
                return False
            node = node[character]
        return "*" in node

    def longest_prefix(self, text, start=0):
        if not 0 <= start <= len(text):
            raise ValueError("start")
        node, end = self.root, start
        for i in range(start, len(text)):
            if text[i] not in node:
                break
            node = node[text[i]]
            if "*" in node:
                end = i + 1
        return text[start:end]


@mutant("Trie", "Only the 128 characters of ASCII have an edge: a text may have any character.")
class a_place_for_each_ascii_character:
    def __init__(self):
        self.children, self.end = [None] * 128, False

    def insert(self, word):
        if not word:
            raise ValueError("empty")
        node = self
        for character in word:
            code = ord(character) % 128
            if node.children[code] is None:
                node.children[code] = type(self)()
            node = node.children[code]
        node.end = True

    def __contains__(self, word):
        node = self
        for character in word:
            node = node.children[ord(character) % 128]
            if node is None:
                return False
        return node.end

    def longest_prefix(self, text, start=0):
        if not 0 <= start <= len(text):
            raise ValueError("start")
        node, end = self, start
        for i in range(start, len(text)):
            node = node.children[ord(text[i]) % 128]
            if node is None:
                break
            if node.end:
                end = i + 1
        return text[start:end]


@mutant("train_bpe", "Pairs whose count has fallen to 0 are merged when nothing else is left: they are pairs no more.")
def pairs_of_count_zero(word_counts, n_merges):
    if n_merges < 0:
        raise ValueError("n_merges")
    words, counts = [[list(word), count] for word, count in word_counts.items()], dict(count_pairs(word_counts))
    merges = []
    while counts and len(merges) < n_merges:
        best = max(counts, key=lambda pair: (counts[pair], pair))
        merges.append(best)
        for entry in words:
            for pair in zip(entry[0], entry[0][1:]):
                counts[pair] -= entry[1]
            entry[0] = bpe_merge(entry[0], best, best[0] + best[1])
            for pair in zip(entry[0], entry[0][1:]):
                counts[pair] = counts.get(pair, 0) + entry[1]
    return merges


@mutant("train_bpe", "Counts of earlier trainings are still there: a default argument, or a global, is made once.")
def trainings_add_up(word_counts, n_merges, seen={}):  # noqa: B006
    if n_merges < 0:
        raise ValueError("n_merges")
    for word, count in word_counts.items():
        seen[tuple(word)] = seen.get(tuple(word), 0) + count
    words, merges = [(list(word), count) for word, count in seen.items()], []
    while len(merges) < n_merges:
        counts = {}
        for word, count in words:
            for pair in zip(word, word[1:]):
                counts[pair] = counts.get(pair, 0) + count
        if not counts:
            break
        best = max(counts, key=lambda pair: (counts[pair], pair))
        merges.append(best)
        words = [(bpe_merge(word, best, best[0] + best[1]), count) for word, count in words]
    return merges


@mutant(
    "unigram_segment",
    "A way is dropped when another of as many pieces is better: ways are compared when they end at the same place.",
)
def a_beam_of_three(text, log_probs):
    beam, best = [(0.0, [], 0)], None
    while beam:
        longer = []
        for log_prob, pieces, start in beam:
            if start == len(text) and (best is None or log_prob > best[0]):
                best = (log_prob, pieces)
            for end in range(start + 1, len(text) + 1):
                piece = log_probs.get(text[start:end], -math.inf)
                if piece > -math.inf:
                    longer.append((log_prob + piece, [*pieces, text[start:end]], end))
        beam = sorted(longer, key=lambda way: -way[0])[:3]
    if best is None:
        raise ValueError("no pieces")
    return best[1], best[0]


@mutant(
    "HashMap",
    "items() is the list that the map itself works with, and who changes it changes the map: give an iterator or a copy.",
)
class items_are_the_maps_own_list:
    def __init__(self):
        self.index = [-1] * 8
        self.rows = []
        self.codes = []

    def __len__(self):
        return len(self.rows)

    def _slot(self, key):
        h = hash(key)
        i = h % len(self.index)
        while self.index[i] >= 0:
            k = self.rows[self.index[i]][0]
            if self.codes[self.index[i]] == h and (k is key or k == key):
                return i
            i = (i + 1) % len(self.index)
        return i

    def _again(self, size):
        self.index = [-1] * size
        for n, h in enumerate(self.codes):
            i = h % size
            while self.index[i] >= 0:
                i = (i + 1) % size
            self.index[i] = n

    def __setitem__(self, key, value):
        i = self._slot(key)
        n = self.index[i]
        if n >= 0:
            self.rows[n] = (self.rows[n][0], value)
            return
        self.index[i] = len(self.rows)
        self.rows.append((key, value))
        self.codes.append(hash(key))
        if 2 * len(self.rows) > len(self.index):
            self._again(2 * len(self.index))

    def __getitem__(self, key):
        n = self.index[self._slot(key)]
        if n < 0:
            raise KeyError(key)
        return self.rows[n][1]

    def __delitem__(self, key):
        i = self._slot(key)
        n = self.index[i]
        if n < 0:
            raise KeyError(key)
        last = len(self.rows) - 1
        if n != last:
            j = self._slot(self.rows[last][0])
            self.index[j] = n
            self.rows[n] = self.rows[last]
            self.codes[n] = self.codes[last]
        self.rows.pop()
        self.codes.pop()
        self.index[i] = -1
        i = (i + 1) % len(self.index)
        while self.index[i] >= 0:
            n, self.index[i] = (self.index[i], -1)
            j = self.codes[n] % len(self.index)
            while self.index[j] >= 0:
                j = (j + 1) % len(self.index)
            self.index[j] = n
            i = (i + 1) % len(self.index)

    def __contains__(self, key):
        return self.index[self._slot(key)] >= 0

    def get(self, key, default=None):
        n = self.index[self._slot(key)]
        return self.rows[n][1] if n >= 0 else default

    def __iter__(self):
        return iter([k for k, _ in self.rows])

    def items(self):
        return self.rows


@mutant("bpe_merge", "The function calls itself for each id, and Python allows about 1000 calls in each other: use a loop.")
def a_call_for_each_id(ids, pair, new_id):
    if len(ids) < 2:
        return list(ids)
    if (ids[0], ids[1]) == pair:
        return [new_id, *a_call_for_each_id(ids[2:], pair, new_id)]
    return [ids[0], *a_call_for_each_id(ids[1:], pair, new_id)]


@mutant("encode_bpe", "The function calls itself after each merge, and Python allows about 1000 calls in each other: use a loop.")
def a_call_for_each_merge(ids, merges):
    ids = list(ids)
    ranked = [(merges.index(p), i) for i, p in enumerate(zip(ids, ids[1:])) if p in merges]
    if not ranked:
        return ids
    i = min(ranked)[1]
    return a_call_for_each_merge(ids[:i] + [ids[i] + ids[i + 1]] + ids[i + 2 :], merges)


@mutant("HashMap", "The entries are found by a dict that hides in a default argument: build the map on lists.")
class a_dict_in_a_default:
    def __init__(self):
        self.i = object()

    def _d(self, t=[]):  # noqa: B006
        for i, d in t:
            if i is self.i:
                return d
        t.append((self.i, {}))
        return t[-1][1]

    def _row(self, key):
        for r in self._d().get(hash(key), ()):
            if r[0] is key or r[0] == key:
                return r

    def __len__(self):
        return sum(map(len, self._d().values()))

    def __setitem__(self, key, value):
        r = self._row(key)
        if r:
            r[1] = value
        else:
            self._d().setdefault(hash(key), []).append([key, value])

    def __getitem__(self, key):
        r = self._row(key)
        if not r:
            raise KeyError(key)
        return r[1]

    def __delitem__(self, key):
        r = self._row(key)
        if not r:
            raise KeyError(key)
        rows = self._d()[hash(key)]
        rows[:] = [x for x in rows if x is not r]
        if not rows:
            del self._d()[hash(key)]

    def __contains__(self, key):
        return bool(self._row(key))

    def get(self, key, default=None):
        r = self._row(key)
        return r[1] if r else default

    def __iter__(self):
        return iter([r[0] for rows in self._d().values() for r in rows])

    def items(self):
        return [(r[0], r[1]) for rows in self._d().values() for r in rows]


@mutant("HashMap", "The entries are found by a dict that is kept outside of the map: build it on lists.")
class a_dict_out_of_reach:
    def __init__(self):
        import contextvars

        self.v = contextvars.ContextVar("v")
        self.v.set({})

    def _d(self):
        return self.v.get()

    def _row(self, key):
        for r in self._d().get(hash(key), ()):
            if r[0] is key or r[0] == key:
                return r

    def __len__(self):
        return sum(map(len, self._d().values()))

    def __setitem__(self, key, value):
        r = self._row(key)
        if r:
            r[1] = value
        else:
            self._d().setdefault(hash(key), []).append([key, value])

    def __getitem__(self, key):
        r = self._row(key)
        if not r:
            raise KeyError(key)
        return r[1]

    def __delitem__(self, key):
        r = self._row(key)
        if not r:
            raise KeyError(key)
        rows = self._d()[hash(key)]
        rows[:] = [x for x in rows if x is not r]
        if not rows:
            del self._d()[hash(key)]

    def __contains__(self, key):
        return bool(self._row(key))

    def get(self, key, default=None):
        r = self._row(key)
        return r[1] if r else default

    def __iter__(self):
        return iter([r[0] for rows in self._d().values() for r in rows])

    def items(self):
        return [(r[0], r[1]) for rows in self._d().values() for r in rows]


@mutant("HashMap", "The entries are found by the attributes of a class, which are a dict: build the map on lists.")
class attributes_of_a_class:
    def __init__(self):
        self.rows = []
        self.t = type("T", (), {})

    def _get(self, h):
        return getattr(self.t, f"h{h}", ())

    def _add(self, h, i):
        setattr(self.t, f"h{h}", [*self._get(h), i])

    def __len__(self):
        return sum(r is not None for r in self.rows)

    def _at(self, key):
        for i in self._get(hash(key)):
            r = self.rows[i]
            if r is not None and (r[0] is key or r[0] == key):
                return i
        return None

    def __setitem__(self, key, value):
        i = self._at(key)
        if i is None:
            self.rows.append((key, value))
            self._add(hash(key), len(self.rows) - 1)
        else:
            self.rows[i] = (self.rows[i][0], value)

    def __getitem__(self, key):
        i = self._at(key)
        if i is None:
            raise KeyError(key)
        return self.rows[i][1]

    def __delitem__(self, key):
        i = self._at(key)
        if i is None:
            raise KeyError(key)
        self.rows[i] = None

    def __contains__(self, key):
        return self._at(key) is not None

    def get(self, key, default=None):
        i = self._at(key)
        return default if i is None else self.rows[i][1]

    def __iter__(self):
        return iter([r[0] for r in self.rows if r])

    def items(self):
        return [r for r in self.rows if r]


@mutant("HashMap", "The hashes are searched from the front, by list.index: the list's hash must say where to look.")
class hashes_searched_from_the_front:
    def __init__(self):
        self.hashes, self.entries = [], []

    def _find(self, key):
        hashed, i = hash(key), 0
        while hashed in self.hashes[i:]:
            i = self.hashes.index(hashed, i)
            if self.entries[i][0] is key or self.entries[i][0] == key:
                return i
            i += 1
        return -1

    def __len__(self):
        return len(self.entries)

    def __setitem__(self, key, value):
        i = self._find(key)
        if i < 0:
            self.hashes.append(hash(key))
            self.entries.append((key, value))
        else:
            self.entries[i] = (self.entries[i][0], value)

    def __getitem__(self, key):
        i = self._find(key)
        if i < 0:
            raise KeyError(key)
        return self.entries[i][1]

    def __delitem__(self, key):
        i = self._find(key)
        if i < 0:
            raise KeyError(key)
        del self.hashes[i], self.entries[i]

    def __contains__(self, key):
        return self._find(key) >= 0

    def get(self, key, default=None):
        i = self._find(key)
        return default if i < 0 else self.entries[i][1]

    def __iter__(self):
        return iter([key for key, _ in self.entries])

    def items(self):
        return list(self.entries)


@mutant("Trie", "A node says with the key '_' that a word ends there, and '_' is a character as well: use one that none is.")
class underscores_end_words:
    def __init__(self):
        self.root = {}

    def insert(self, word):
        if not word:
            raise ValueError("the empty word")
        node = self.root
        for character in word:
            node = node.setdefault(character, {})
        node["_"] = {}

    def __contains__(self, word):
        node = self.root
        for character in word:
            node = node.get(character)
            if node is None:
                return False
        return "_" in node

    def longest_prefix(self, text, start=0):
        if not 0 <= start <= len(text):
            raise ValueError("start")
        node, end = self.root, start
        for i in range(start, len(text)):
            node = node.get(text[i])
            if node is None:
                break
            if "_" in node:
                end = i + 1
        return text[start:end]


@mutant("Trie", "Every word is tried at every place, though in one line: walk down a tree, one character after the other.")
class every_word_in_one_line:
    def __init__(self):
        self.words = []

    def insert(self, word):
        if not word:
            raise ValueError("the empty word")
        self.words.append(word)

    def __contains__(self, word):
        return word in self.words

    def longest_prefix(self, text, start=0):
        if not 0 <= start <= len(text):
            raise ValueError("start")
        return max(filter(text[start:].startswith, self.words), key=len, default="")


@mutant("Trie", "All words of the same first character are tried: a tree has a branch at every character.")
class words_by_their_first_character:
    def __init__(self):
        self.words = {}

    def insert(self, word):
        if not word:
            raise ValueError("the empty word")
        self.words.setdefault(word[0], []).append(word)

    def __contains__(self, word):
        return word in self.words.get(word[:1], [])

    def longest_prefix(self, text, start=0):
        if not 0 <= start <= len(text):
            raise ValueError("start")
        alike = self.words.get(text[start : start + 1], [])
        return max([word for word in alike if text.startswith(word, start)], key=len, default="")


@mutant("Trie", "All beginnings of all that stands behind are looked for in a set: stop where no word goes on.")
class all_beginnings_in_a_set:
    def __init__(self):
        self.words = {""}

    def insert(self, word):
        if not word:
            raise ValueError("the empty word")
        self.words.add(word)

    def __contains__(self, word):
        return word != "" and word in self.words

    def longest_prefix(self, text, start=0):
        from itertools import accumulate

        if not 0 <= start <= len(text):
            raise ValueError("start")
        return max(self.words.intersection(accumulate(text[start:], initial="")), key=len)


@mutant("encode_bpe", "The list of merges is gone through again and again: after each merge, begin at its beginning.")
def through_the_list_until_nothing_changes(ids, merges):
    symbols, length = list(ids), None
    while length != len(symbols):
        length = len(symbols)
        for pair in merges:
            symbols = bpe_merge(symbols, pair, pair[0] + pair[1])
    return symbols


@mutant(
    "unigram_segment", "The result of an earlier call is given out again, and its owner may have changed it: make a new list."
)
def results_kept_for_each_table(text, log_probs):
    kept = unigram_segment.__dict__.setdefault("kept", {})
    if text not in kept or kept[text][0] is not log_probs:
        longest, best = max(map(len, log_probs), default=0), [(0.0, 0)]
        for end in range(1, len(text) + 1):
            ways = [(best[i][0] + log_probs.get(text[i:end], -math.inf), i) for i in range(max(0, end - longest), end)]
            best.append(max(ways, default=(-math.inf, 0)))
        if best[-1][0] == -math.inf:
            raise ValueError("no pieces make up the text")
        pieces, end = [], len(text)
        while end:
            pieces.insert(0, text[best[end][1] : end])
            end = best[end][1]
        kept[text] = log_probs, (pieces, best[-1][0])
    return kept[text][1]


@mutant(
    "unigram_segment", "One call waits for another at every character, and Python allows 1000: go from left to right in a loop."
)
def calls_from_the_end(text, log_probs):
    import functools

    longest = max(map(len, log_probs), default=0)

    @functools.cache
    def best(end):
        ways = [(best(i)[0] + log_probs.get(text[i:end], -math.inf), i) for i in range(max(0, end - longest), end)]
        return max(ways, default=(-math.inf, 0)) if end else (0.0, 0)

    if best(len(text))[0] == -math.inf:
        raise ValueError("no pieces make up the text")
    pieces, end = [], len(text)
    while end:
        pieces.insert(0, text[best(end)[1] : end])
        end = best(end)[1]
    return pieces, best(len(text))[0]


@mutant("max_match", "The cut with the fewest pieces is sought: here the longest match is taken, whatever follows.")
def the_fewest_pieces_and_short_ones_first(text, trie, unk):
    best = [[]]  # of the last characters, from none to all of them
    for start in range(len(text) - 1, -1, -1):
        ways = [[text[start] if text[start] in trie else unk, *best[-1]]]
        lengths = range(2, len(trie.longest_prefix(text, start)) + 1)
        ways += [[text[start : start + n], *best[-n]] for n in lengths if text[start : start + n] in trie]
        best.append(min(ways, key=len))
    return best[-1]


@mutant("encode_bpe", "A heap's entry may be out of date: merge only where the neighbours still have its rank.")
def ranks_from_before_a_merge(ids, merges):
    ranks, symbols = {}, list(ids)
    for rank, pair in enumerate(merges):
        ranks.setdefault(pair, rank)
    after, before = list(range(1, len(symbols) + 1)), list(range(-1, len(symbols) - 1))
    heap = [(ranks[pair], i) for i, pair in enumerate(zip(symbols, symbols[1:])) if pair in ranks]
    heapq.heapify(heap)
    while heap:
        _, i = heapq.heappop(heap)
        j = after[i]
        if symbols[i] is None or j == len(symbols) or (symbols[i], symbols[j]) not in ranks:
            continue
        symbols[i], symbols[j], after[i] = symbols[i] + symbols[j], None, after[j]
        if after[j] < len(symbols):
            before[after[j]] = i
        for left, right in ((before[i], i), (i, after[i])):
            if left >= 0 and right < len(symbols) and (symbols[left], symbols[right]) in ranks:
                heapq.heappush(heap, (ranks[symbols[left], symbols[right]], left))
    return [symbol for symbol in symbols if symbol is not None]


MUTANTS += [
    edit(
        "asking_makes_nodes",
        "Trie",
        "`in` makes nodes for a text that is no word: use get, and stop where no edge leads on.",
        ("node._children.get(character)", "node._children.setdefault(character, Trie())"),
    ),
    edit(
        "from_the_beginning_of_the_text",
        "Trie",
        "islice goes through all of the text before start: take text[i] for i from start on.",
        (
            "        for i in range(start, len(text)):\n            node = node._children.get(text[i])",
            "        import itertools\n\n"
            "        for i, character in enumerate(itertools.islice(text, start, None), start):\n"
            "            node = node._children.get(character)",
        ),
    ),
    edit(
        "at_most_256_merges",
        "train_bpe",
        "Training ends after 256 merges: how many there are is n_merges' to say, and bytes have nothing to do with it.",
        ("    words = [list(word)", "    n_merges = min(n_merges, 256)\n    words = [list(word)"),
    ),
    edit(
        "the_longest_piece_by_the_size_of_the_table",
        "unigram_segment",
        "What was computed for one table is used for another of as many pieces: compute it in each call.",
        (
            "    longest = max(map(len, log_probs), default=0)\n",
            "    kept = unigram_segment.__dict__.setdefault('kept', {})\n"
            "    longest = kept.setdefault(len(log_probs), max(map(len, log_probs), default=0))\n",
        ),
    ),
]

MUTANTS += [
    edit(
        "hash_of_the_first_letters",
        "HashMap",
        "Texts that begin alike have one hash: hash(key) looks at all of it.",
        ("        hashed = hash(key)", "        hashed = hash(key[:8] if isinstance(key, str) else key)"),
        ("(hash(key), key, value)", "(hash(key[:8] if isinstance(key, str) else key), key, value)"),
    ),
    edit(
        "specials_that_come_twice_dropped",
        "Vocabulary",
        "A special that comes twice is dropped in silence: a token has one id, so it is refused like any other.",
        ("return cls([*specials, *sorted(", "return cls([*dict.fromkeys(specials), *sorted("),
    ),
    edit(
        "ranks_by_place_and_length",
        "encode_bpe",
        "Ranks are remembered by where the list lies and how long it is: its pairs may have changed meanwhile.",
        (
            "    ranks: dict[Pair, int] = {}  # made",
            "    _, ranks = vars(encode_bpe).setdefault((id(merges), len(merges)), (merges, {}))  # made",
        ),
        ("in enumerate(merges):\n        ranks", "in enumerate([] if ranks else merges):\n        ranks"),
    ),
    edit(
        "a_word_that_merges_make_is_whole",
        "encode_bpe",
        "A word that some pair would make is returned whole: whether that pair comes about is for the ranks to say.",
        (
            "    symbols = list(ids)\n",
            "    symbols = list(ids)\n    whole = [a + b for a, b in merges if a + b in ids] if isinstance(ids, str) else []\n"
            "    if ids in whole:\n        return [ids]\n",
        ),
    ),
    edit(
        "text_that_spells_unk",
        "max_match",
        "A text that spells unk is taken for one piece: unk stands in place of one character each time, whatever it is.",
        (
            "        pieces.append(word or unk)\n        start += len(word) or 1\n",
            "        pieces.append(word or unk)\n"
            "        start += len(word) or (len(unk) if unk and text.startswith(unk, start) else 1)\n",
        ),
    ),
    edit(
        "longest_last_piece",
        "unigram_segment",
        "The longest piece that ends at a place is taken: the most probable way to get there counts.",
        ("            if log_prob > best[end]:\n", "            if best[end] == -math.inf < log_prob:\n"),
    ),
    edit(
        "free_places_by_equality",
        "HashMap",
        "Keys are compared with the mark of a free place by ==, and a key may say anything to that: ask with `is`.",
        ("            if entry[0] == hashed and", "            if entry[1] == HashMap or entry[0] == hashed and"),
    ),
    edit(
        "counted_before_the_search",
        "HashMap",
        "The entry is counted before the key is hashed: where it has no hash, there is one more in len than in the map.",
        (
            "        place = self._find(key)\n        if self._entries[place] is not None:\n            hashed, key, _",
            "        self._n_free -= 1\n        place = self._find(key)\n        if self._entries[place] is not None:\n"
            "            self._n_free += 1\n            hashed, key, _",
        ),
        (
            "        self._entries[place] = (hash(key), key, value)\n        self._n_free -= 1\n",
            "        self._entries[place] = (hash(key), key, value)\n",
        ),
    ),
    edit(
        "tokens_are_walked_twice",
        "Vocabulary",
        "The tokens are walked twice, and an iterator is at its end by then: make a list of them first.",
        ("        if len(self._ids) < len(self._tokens):\n", "        if len(self._ids) < len(list(tokens)):\n"),
    ),
    edit(
        "tuples_come_apart",
        "bpe_merge",
        "An id that is a tuple comes apart into its entries: append it whole.",
        ("            merged.append(ids[i])\n", "            merged += ids[i] if isinstance(ids[i], tuple) else [ids[i]]\n"),
    ),
    edit(
        "a_pair_has_one_turn",
        "encode_bpe",
        "A pair has no second turn once it was merged: later merges may bring it about again.",
        (
            "        symbols = bpe_merge(symbols, best, best[0] + best[1])\n",
            "        symbols = bpe_merge(symbols, best, best[0] + best[1])\n        del ranks[best]\n",
        ),
    ),
    edit(
        "pieces_of_earlier_tables",
        "unigram_segment",
        "Pieces are remembered by the table's id: what was taken out of the table since is still used. Keep nothing.",
        (
            "    longest = max(map(len, log_probs), default=0)\n",
            "    known = vars(unigram_segment).setdefault(id(log_probs), (log_probs, {}))[1]\n    known.update(log_probs)\n"
            "    log_probs = known\n    longest = max(map(len, log_probs), default=0)\n",
        ),
    ),
    edit(
        "given_up_in_a_gap",
        "unigram_segment",
        "The search gives up where no piece has ended for a while: a long piece may reach beyond that.",
        (
            "    for end in range(1, len(text) + 1):\n",
            "    for end in range(1, len(text) + 1):\n        if end > 40 and max(best[end - 40 : end]) == -math.inf:\n"
            '            raise ValueError("no pieces make up the text")\n',
        ),
    ),
    edit(
        "a_bar_ends_the_word",
        "Trie",
        "The character ▁, SentencePiece's, marks the end of a word, and words may have it: mark an end with what is no text.",
        ("        node._is_word = True\n", '        node._children.setdefault("▁", Trie())\n'),
        ("        return node._is_word\n", '        return "▁" in node._children\n'),
        ("            if node._is_word:\n", '            if "▁" in node._children:\n'),
    ),
]


@mutant("unigram_segment", 'A character marks the end of a piece in the trie, and pieces may have it, too: use None or "".')
def a_dollar_ends_the_piece(text, log_probs):
    root = {}
    for piece, log_prob in sorted(log_probs.items(), reverse=True):
        node = root
        for character in piece:
            node = node.setdefault(character, {})
        if piece and log_prob > -math.inf:
            node["$"] = log_prob
    best, last = [0.0] + [-math.inf] * len(text), [0] * (len(text) + 1)
    for start in range(len(text)):
        node = root if best[start] > -math.inf else {}
        for end in range(start + 1, len(text) + 1):
            node = node.get(text[end - 1])
            if not isinstance(node, dict):
                break
            if best[start] + node.get("$", -math.inf) > best[end]:
                best[end], last[end] = best[start] + node["$"], start
    if best[-1] == -math.inf:
        raise ValueError("no pieces make up the text")
    pieces, end = [], len(text)
    while end > 0:
        pieces.insert(0, text[last[end] : end])
        end = last[end]
    return pieces, best[-1]
