"""Named mistakes: each must fail in its exercise, and each says what a student who made it should read."""

import torch

from autograder.testing.variants import edit, mutant

MUTANTS = [
    # TopKHeap
    edit(
        "keeps_the_worst",
        "TopKHeap",
        "The root is the best entry, so the best leaves when there is no room: the k worst are kept. Let the worst be the root.",
        ("elif self._entries[0] < entry:", "elif entry < self._entries[0]:"),
    ),
    edit(
        "worst_first",
        "TopKHeap",
        "items() gives the worst first: reverse the order.",
        (", reverse=True)]", ")]"),
    ),
    edit(
        "items_before_scores",
        "TopKHeap",
        "The entries are (item, score): (score, item) is asked for.",
        ("[(score, item) for", "[(item, score) for"),
    ),
    edit(
        "items_in_heap_order",
        "TopKHeap",
        "items() gives the list as the heap has it, in which only the root is in its place: sort it.",
        ("in sorted(self._entries, key=lambda entry: entry[:2], reverse=True)]", "in self._entries[::-1]]"),
    ),
    edit(
        "later_ones_first",
        "TopKHeap",
        "Of equal scores the later one counts as better: the order of pushing has to come in with a minus.",
        ("entry = (score, -self._n_pushed, item)", "entry = (score, self._n_pushed, item)"),
    ),
    edit(
        "newest_ones_win_ties",
        "TopKHeap",
        "A newcomer that is only as good as the worst pushes it out: it has to be better.",
        ("elif self._entries[0] < entry:", "elif self._entries[0][0] <= entry[0]:"),
    ),
    edit(
        "one_place_too_many",
        "TopKHeap",
        "There are k + 1 entries: append only while there are fewer than k.",
        ("if len(self._entries) < self.k:", "if len(self._entries) <= self.k:"),
    ),
    edit(
        "one_place_too_few",
        "TopKHeap",
        "There are k - 1 entries: append while there are fewer than k.",
        ("if len(self._entries) < self.k:", "if len(self._entries) < max(1, self.k - 1):"),
    ),
    edit(
        "up_one_level_only",
        "TopKHeap",
        "A new entry moves up by one level at most: walk on until its parent is no better.",
        ("            i, parent = parent, (parent - 1) // 2\n", "            return\n"),
    ),
    edit(
        "down_one_level_only",
        "TopKHeap",
        "A new root moves down by one level at most: walk on until no child is worse.",
        ("            i = worst\n", "            return\n"),
    ),
    edit(
        "down_to_the_left_child",
        "TopKHeap",
        "A new root changes places with its left child even where the right one is worse: take the worse of the two.",
        ("for child in (2 * i + 1, 2 * i + 2)", "for child in (2 * i + 1,)"),
    ),
    edit(
        "down_to_the_better_child",
        "TopKHeap",
        "A new root changes places with the better child, which then stands above the worse one: take the worse.",
        ("worst = min(children", "worst = max(children"),
    ),
    edit(
        "children_counted_from_1",
        "TopKHeap",
        "The children of the entry at 0 are at 1 and 2: 2i and 2i + 1 are right only where counting begins with 1.",
        ("for child in (2 * i + 1, 2 * i + 2)", "for child in (2 * i, 2 * i + 1)"),
    ),
    edit(
        "parent_counted_from_1",
        "TopKHeap",
        "The parent of the entry at i is at (i - 1) // 2: i // 2 is right only where counting begins with 1.",
        ("        parent = (i - 1) // 2\n", "        parent = i // 2\n"),
        ("i, parent = parent, (parent - 1) // 2", "i, parent = parent, parent // 2"),
    ),
    edit(
        "no_walk_after_an_append",
        "TopKHeap",
        "An entry is appended and stays at the end: let it walk up, or the root is not the worst.",
        ("            self._sift_up(len(self._entries) - 1)\n", ""),
    ),
    edit(
        "no_walk_after_a_replacement",
        "TopKHeap",
        "The new root stays where it is, and counts as the worst from then on: let it walk down.",
        ("            self._sift_down(0)\n", ""),
    ),
    edit(
        "last_child_forgotten",
        "TopKHeap",
        "The last entry of the list is never looked at as a child: its index is len - 1, which is below len.",
        ("if child < len(self._entries)]", "if child < len(self._entries) - 1]"),
    ),
    edit(
        "items_compared",
        "TopKHeap",
        "Where scores are equal the items are compared, and not all items can be: put the order of pushing between.",
        ("entry = (score, -self._n_pushed, item)", "entry = (score, item, item)"),
        ("key=lambda entry: entry[:2], reverse=True", "key=lambda entry: entry[0], reverse=True"),
        ("key=lambda child: self._entries[child][:2]", "key=lambda child: self._entries[child][0]"),
    ),
    edit(
        "equal_items_kept_once",
        "TopKHeap",
        "An item equal to one that is held is not taken in: the same item may come twice, and some cannot be compared.",
        (
            "        entry = (score",
            "        if any(item == other for _, _, other in self._entries):\n            return\n        entry = (score",
        ),
    ),
    edit(
        "items_emptied",
        "TopKHeap",
        "items() takes the entries out: it only looks. Sort a copy.",
        ("        return [(score, item)", "        entries, self._entries = self._entries, []\n        return [(score, item)"),
        ("in sorted(self._entries,", "in sorted(entries,"),
    ),
    edit(
        "items_sort_the_heap",
        "TopKHeap",
        "items() sorts the heap's own list, the best first, and the root is no longer the worst: sort a copy.",
        (
            "        return [(score, item)",
            "        self._entries.sort(key=lambda entry: entry[:2], reverse=True)\n        return [(score, item)",
        ),
    ),
    edit(
        "everything_kept",
        "TopKHeap",
        "All entries are kept, and only items() cuts them to k: what is not among the k best has to leave.",
        ("if len(self._entries) < self.k:", "if True:"),
        ("reverse=True)]", "reverse=True)[: self.k]]"),
        ("return len(self._entries)", "return min(self.k, len(self._entries))"),
    ),
    edit(
        "sorted_at_each_push",
        "TopKHeap",
        "Every push sorts all k entries: that is k log k steps where a walk along one path, log k, is enough.",
        ("            self._sift_up(len(self._entries) - 1)\n", "            self._entries.sort(key=lambda entry: entry[:2])\n"),
        ("            self._sift_down(0)\n", "            self._entries.sort(key=lambda entry: entry[:2])\n"),
    ),
    edit(
        "entries_of_the_class",
        "TopKHeap",
        "All heaps share one list: make it in __init__, for each heap its own.",
        (
            "        self._entries: list[tuple[float, int, Any]] = []",
            "        self.__class__._entries = getattr(self, '_entries', [])",
        ),
    ),
    edit(
        "k_of_the_newest_heap",
        "TopKHeap",
        "k is kept on the class, so the newest heap decides it for all: assign it to self.",
        ("        self.k = k\n", "        type(self).k = k\n"),
    ),
    edit(
        "pushes_counted_for_len",
        "TopKHeap",
        "len counts the pushes, also of what did not get in or has left: it is the number of entries that are held.",
        ("return len(self._entries)\n        ### END", "return self._n_pushed\n        ### END"),
    ),
    edit(
        "heap_of_nothing",
        "TopKHeap",
        "A heap of no place is made: k below 1 is a ValueError.",
        ('        if k < 1:\n            raise ValueError(f"k must be at least 1, not {k}")\n', ""),
    ),
    edit(
        "not_a_number_taken_in",
        "TopKHeap",
        "A score of NaN is taken in, and nothing is better or worse than it: refuse it.",
        ('        if score != score:\n            raise ValueError("score must be a number, not NaN")\n', ""),
    ),
    edit(
        "refused_too_late",
        "TopKHeap",
        "A score of NaN is refused after it has been taken in: look first.",
        ('        if score != score:\n            raise ValueError("score must be a number, not NaN")\n', ""),
        (
            "            self._sift_down(0)\n",
            "            self._sift_down(0)\n        if score != score:\n            raise ValueError('NaN')\n",
        ),
    ),
    edit(
        "scores_rounded",
        "TopKHeap",
        "Scores are cut to whole numbers: compare them as they are.",
        ("entry = (score, -", "entry = (int(score) if abs(score) < 1e9 else score, -"),
    ),
    edit(
        "sizes_of_scores",
        "TopKHeap",
        "Scores are compared by size, without their sign: -3 is worse than 2.",
        ("entry = (score, -", "entry = (abs(score), -"),
    ),
    edit(
        "scores_in_float32",
        "TopKHeap",
        "Scores are rounded to float32, which makes equals of close ones: keep and compare them as they came.",
        ("entry = (score, -", "entry = (float(torch.tensor(score, dtype=torch.float32)), -"),
    ),
    edit(
        "close_scores_taken_for_equal",
        "TopKHeap",
        "A newcomer that is better by very little is kept out: better is better, so compare scores without a tolerance.",
        (
            "elif self._entries[0] < entry:",
            "elif self._entries[0] < entry and not math.isclose(self._entries[0][0], score):",
        ),
    ),
    edit(
        "minus_infinity_kept_out",
        "TopKHeap",
        "A score of -inf is passed over: it is the worst there is, and gets in while there is room all the same.",
        ("        entry = (score", "        if score == -math.inf:\n            return\n        entry = (score"),
    ),
    edit(
        "scores_alone_on_the_way_up",
        "TopKHeap",
        "On its way up an entry is compared by score alone, so of equal ones an older may stand at the root and leave first: let "
        "the order of pushing count there, too.",
        ("self._entries[i] < self._entries[parent]:", "self._entries[i][0] < self._entries[parent][0]:"),
    ),
    edit(
        "first_score_not_looked_at",
        "TopKHeap",
        "A score of NaN is refused only where there are entries to compare it with: refuse it in an empty heap as well.",
        ("if score != score:", "if self._entries and score != score:"),
    ),
    # apply_temperature
    edit(
        "six_levels_down",
        "TopKHeap",
        "A walk ends after six levels, and a heap may be deeper: walk until the entry is in its place, however far that is.",
        ("        while True:\n", "        for _ in range(6):\n"),
    ),
    edit(
        "six_levels_up",
        "TopKHeap",
        "A new entry rises by six levels at most, and a heap may be deeper: walk on until its parent is no better.",
        ("parent = (i - 1) // 2\n", "parent, left = (i - 1) // 2, 6\n"),
        ("while i > 0 and", "while left and i > 0 and"),
        ("i, parent = parent, (parent - 1) // 2\n", "i, parent, left = parent, (parent - 1) // 2, left - 1\n"),
    ),
    edit(
        "counting_begins_again",
        "TopKHeap",
        "items() begins to count the pushes again, so that of equal scores later ones count as earlier: it only looks.",
        ("        return [(score, item) for", "        self._n_pushed = 0\n        return [(score, item) for"),
    ),
    edit(
        "all_scores_remembered",
        "TopKHeap",
        "The scores of all pushes are remembered: there is room for k entries and no more.",
        ("        self._n_pushed = 0\n", "        self._n_pushed, self._seen = 0, []\n"),
        ("        self._n_pushed += 1\n", "        self._n_pushed += 1\n        self._seen.append(score)\n"),
    ),
    edit(
        "multiplied",
        "apply_temperature",
        "Logits are multiplied by the temperature: a high one should make the distribution flatter. Divide.",
        ("return logits / temperature", "return logits * temperature"),
    ),
    edit(
        "probabilities_returned",
        "apply_temperature",
        "What comes back are probabilities: leave the softmax to whoever draws.",
        ("return logits / temperature", "return (logits / temperature).softmax(-1)"),
    ),
    edit(
        "one_row_divided_in_place",
        "apply_temperature",
        "Logits without a batch are divided in place: whoever gave them finds others. logits / temperature is a new tensor.",
        (
            "return logits / temperature",
            "row = logits.dim() < 2 and not logits.requires_grad\n"
            "    return logits.div_(temperature) if row else logits / temperature",
        ),
    ),
    edit(
        "log_probabilities_returned",
        "apply_temperature",
        "What comes back is normalised: logits / temperature is all that is asked for.",
        ("return logits / temperature", "return (logits / temperature).log_softmax(-1)"),
    ),
    edit(
        "maximum_subtracted",
        "apply_temperature",
        "The maximum is subtracted: the softmax does that for itself, and other filters want the logits as they are.",
        ("return logits / temperature", "return (logits - logits.amax(-1, keepdim=True)) / temperature"),
    ),
    edit(
        "divided_in_place",
        "apply_temperature",
        "The caller's logits are changed: logits / temperature makes a new tensor, logits /= temperature does not.",
        ("return logits / temperature", "return logits.div_(temperature)"),
    ),
    edit(
        "temperature_cut",
        "apply_temperature",
        "Temperatures above 1 count as 1: only 0 and below are refused.",
        ("return logits / temperature", "return logits / min(temperature, 1.0)"),
    ),
    edit(
        "temperature_in_float32",
        "apply_temperature",
        "The result is float32 whatever came in: keep the logits' dtype.",
        ("return logits / temperature", "return logits.float() / temperature"),
    ),
    edit(
        "dropped_tokens_come_back",
        "apply_temperature",
        "A logit of -inf becomes a large finite one: dropped tokens have to stay dropped.",
        ("return logits / temperature", "return logits.clamp(min=-1e4) / temperature"),
    ),
    edit(
        "temperature_0_accepted",
        "apply_temperature",
        "A temperature of 0 gives infinities: it is a ValueError.",
        ("if not 0 < temperature < math.inf:", "if not 0 <= temperature < math.inf:"),
    ),
    edit(
        "negative_temperature_accepted",
        "apply_temperature",
        "A negative temperature turns the order of the tokens around: it is a ValueError.",
        ("if not 0 < temperature < math.inf:", "if temperature == 0 or not temperature < math.inf:"),
    ),
    edit(
        "infinite_temperature_accepted",
        "apply_temperature",
        "An infinite temperature makes NaN of -inf: it is a ValueError.",
        ("if not 0 < temperature < math.inf:", "if not 0 < temperature:"),
    ),
    edit(
        "nan_temperature_accepted",
        "apply_temperature",
        "NaN passes a check that asks whether it is too small: ask whether it is right, and turn that around.",
        ("if not 0 < temperature < math.inf:", "if temperature <= 0 or temperature == math.inf:"),
    ),
    edit(
        "small_temperatures_raised",
        "apply_temperature",
        "Temperatures below 0.01 count as 0.01: only 0 and below are no temperatures.",
        ("return logits / temperature", "return logits / max(temperature, 0.01)"),
    ),
    edit(
        "last_dimension_needed",
        "apply_temperature",
        "A single logit without any dimension fails: the shape does not matter for a division.",
        ("return logits / temperature", "return torch.stack([x / temperature for x in logits.unbind(-1)], -1)"),
    ),
    # top_k_filter
    edit(
        "large_logits_cut",
        "apply_temperature",
        "Logits above 100 count as 100: a softmax minds no large logits, so divide them as they are.",
        ("return logits / temperature", "return logits.clamp(max=100) / temperature"),
    ),
    edit(
        "gradient_lost",
        "apply_temperature",
        "No gradient flows back: compute from the logits themselves, without detach.",
        ("return logits / temperature", "return logits.detach() / temperature"),
    ),
    edit(
        "one_too_many",
        "top_k_filter",
        "k + 1 logits stay: the threshold is the k-th largest, at index k - 1.",
        ("logits.topk(min(k, logits.shape[-1])", "logits.topk(min(k + 1, logits.shape[-1])"),
    ),
    edit(
        "one_too_few",
        "top_k_filter",
        "The k-th largest itself goes: only what is smaller than it does.",
        ("logits < kth", "logits <= kth"),
    ),
    edit(
        "smallest_stay",
        "top_k_filter",
        "The k smallest stay: ask topk for the largest.",
        (", dim=-1).values[..., -1:]", ", dim=-1, largest=False).values[..., -1:]"),
        ("logits < kth", "logits > kth"),
    ),
    edit(
        "zero_instead_of_minus_infinity",
        "top_k_filter",
        "What goes becomes 0, and a logit of 0 is as good as any: it has to become -inf.",
        ("logits < kth, -math.inf)", "logits < kth, 0.0)"),
    ),
    edit(
        "large_instead_of_minus_infinity",
        "top_k_filter",
        "What goes becomes a large negative number, which a softmax may still give a probability: -inf.",
        ("logits < kth, -math.inf)", "logits < kth, -1e4)"),
    ),
    edit(
        "threshold_of_the_first_row",
        "top_k_filter",
        "The first row's threshold is used for all: each row has its own.",
        (
            "    return logits.masked_fill(logits < kth",
            "    kth = kth.reshape(-1)[:1]\n    return logits.masked_fill(logits < kth",
        ),
    ),
    edit(
        "top_k_of_everything",
        "top_k_filter",
        "k logits stay in the whole tensor: k of each row should.",
        (
            "logits.topk(min(k, logits.shape[-1]), dim=-1).values[..., -1:]",
            "logits.flatten().topk(min(k, logits.numel())).values[-1:]",
        ),
    ),
    edit(
        "more_than_there_are",
        "top_k_filter",
        "A k above the vocabulary's size fails: all tokens stay then.",
        ("logits.topk(min(k, logits.shape[-1])", "logits.topk(k"),
    ),
    edit(
        "absolute_values",
        "top_k_filter",
        "Logits are compared by size, without their sign: -5 is smaller than 1.",
        ("logits.topk(", "logits.abs().topk("),
        ("logits < kth", "logits.abs() < kth"),
    ),
    edit(
        "only_kept_ones_returned",
        "top_k_filter",
        "Only the k largest come back: the result has logits' shape, with -inf where something went.",
        ("return logits.masked_fill(logits < kth, -math.inf)", "return logits.topk(min(k, logits.shape[-1]), dim=-1).values"),
    ),
    edit(
        "filtered_in_place",
        "top_k_filter",
        "The caller's logits are changed: masked_fill makes a new tensor, masked_fill_ does not.",
        ("logits.masked_fill(", "logits.masked_fill_("),
    ),
    edit(
        "top_k_probabilities",
        "top_k_filter",
        "What stays has become probabilities: logits that stay, stay as they are.",
        ("return logits.masked_fill(logits < kth, -math.inf)", "return logits.masked_fill(logits < kth, -math.inf).softmax(-1)"),
    ),
    edit(
        "top_k_in_float32",
        "top_k_filter",
        "The result is float32 whatever came in: keep the logits' dtype.",
        ("return logits.masked_fill(logits < kth", "return logits.float().masked_fill(logits < kth"),
    ),
    edit(
        "ties_lose_all",
        "top_k_filter",
        "Where several are equal to the k-th largest all of them go, and fewer than k stay.",
        (
            "    return",
            "    tied = (logits == kth).sum(-1, keepdim=True) > 1\n    kth = torch.where(tied, kth + 1e-6, kth)\n    return",
        ),
    ),
    edit(
        "more_than_k_equal_ones_go",
        "top_k_filter",
        "Where more than k are equal to the k-th largest these go, and fewer than k stay: k at least have to.",
        (
            "    return logits.masked_fill(logits < kth",
            "    many = (logits == kth).sum(-1).max() > k\n"
            "    kth = torch.where(many & (kth < logits.amax(-1, keepdim=True)), kth + 1e-6, kth)\n"
            "    return logits.masked_fill(logits < kth",
        ),
    ),
    edit(
        "k_of_0_accepted",
        "top_k_filter",
        "k = 0 would leave nothing to choose from: it is a ValueError.",
        ('    if k < 1:\n        raise ValueError(f"k must be at least 1, not {k}")\n', "    k = max(k, 1)\n"),
    ),
    edit(
        "compared_in_float32",
        "top_k_filter",
        "Logits are compared in float32, where close float64 ones are equal: compare them as they are.",
        ("logits < kth", "logits.float() < kth.float()"),
    ),
    edit(
        "almost_as_large_stays",
        "top_k_filter",
        "A logit just below the k-th largest stays: compare without a tolerance.",
        ("logits < kth", "logits < kth - 1e-6"),
    ),
    # top_p_filter
    edit(
        "fifty_at_most",
        "top_k_filter",
        "No more than 50 logits ever stay: with a larger k, k do.",
        ("min(k, logits.shape[-1])", "min(k, 50, logits.shape[-1])"),
    ),
    edit(
        "token_that_reaches_p_goes",
        "top_p_filter",
        "The token that reaches p is dropped too, so that what is left has less than p: look at the sum before each token.",
        ("before = probs.cumsum(-1) - probs", "before = probs.cumsum(-1)"),
        ("dropped = before >= p", "dropped = before > p"),
    ),
    edit(
        "nucleus_turned_around",
        "top_p_filter",
        "What should stay goes, and the other way around.",
        ("dropped = before >= p", "dropped = before < p"),
    ),
    edit(
        "one_token_beyond_p",
        "top_p_filter",
        "One token more than needed stays: when those before it have p, a token goes.",
        ("dropped = before >= p", "dropped = (before >= p).roll(1, -1)"),
    ),
    edit(
        "exactly_p_is_not_enough",
        "top_p_filter",
        "Where tokens have exactly p together one more stays: to reach p is enough.",
        ("dropped = before >= p", "dropped = before > p"),
    ),
    edit(
        "least_probable_first",
        "top_p_filter",
        "The sums begin with the least probable token: sort descending.",
        ("descending=True", "descending=False"),
    ),
    edit(
        "left_in_sorted_order",
        "top_p_filter",
        "The decisions are applied in sorted order to logits that are not sorted: scatter them back to their places.",
        ("torch.zeros_like(dropped).scatter(-1, order, dropped)", "dropped"),
    ),
    edit(
        "gathered_instead_of_scattered",
        "top_p_filter",
        "The decisions are gathered by the order where they have to be scattered: dropped[i] belongs to token order[i].",
        ("torch.zeros_like(dropped).scatter(-1, order, dropped)", "dropped.gather(-1, order)"),
    ),
    edit(
        "returned_sorted",
        "top_p_filter",
        "The logits come back sorted: each has to be where it was.",
        (
            "logits.masked_fill(torch.zeros_like(dropped).scatter(-1, order, dropped), -math.inf)",
            "logits.gather(-1, order).masked_fill(dropped, -math.inf)",
        ),
    ),
    edit(
        "first_may_go",
        "top_p_filter",
        "At p = 0 every token goes, and a softmax of nothing is NaN: the most probable one always stays.",
        ("    dropped[..., 0] = False\n", ""),
    ),
    edit(
        "logits_summed",
        "top_p_filter",
        "Logits are added up, not probabilities: take the softmax first.",
        ("logits.double().softmax(-1).sort", "logits.double().sort"),
    ),
    edit(
        "sums_in_half_precision",
        "top_p_filter",
        "In half precision the running sum stands still when it is large and the probabilities are small: sum in float32.",
        ("logits.double().softmax(-1)", "logits.softmax(-1)"),
        (
            "before = probs.cumsum(-1) - probs",
            "before = torch.stack([x.cumsum(-1) for x in probs.chunk(8, -1)], 0)[0] if 0 else _sum(probs)",
        ),
        (
            "    if not 0 <= p <= 1:",
            "    def _sum(probs):\n"
            "        total, sums = torch.zeros_like(probs[..., 0]), []\n"
            "        for x in probs.unbind(-1):\n"
            "            sums.append(total)\n"
            "            total = total + x\n"
            "        return torch.stack(sums, -1)\n\n"
            "    if not 0 <= p <= 1:",
        ),
    ),
    edit(
        "p_1_drops_the_tail",
        "top_p_filter",
        "At p = 1 the rounded sum reaches 1 before the last tokens, and they go: p = 1 keeps everything.",
        ("    if p == 1:\n        return logits.clone()\n", ""),
    ),
    edit(
        "order_of_the_first_row",
        "top_p_filter",
        "The first row's decisions are used for all rows: each has an order of its own.",
        (
            "    return logits.masked_fill(torch.zeros_like(dropped).scatter(-1, order, dropped), -math.inf)",
            "    gone = torch.zeros_like(dropped).scatter(-1, order, dropped)\n"
            "    return logits.masked_fill(gone.reshape(-1, gone.shape[-1])[0], -math.inf)",
        ),
    ),
    edit(
        "softmax_over_everything",
        "top_p_filter",
        "The softmax runs over the first dimension: it belongs to the vocabulary, the last one.",
        ("logits.double().softmax(-1)", "logits.double().softmax(0)"),
    ),
    edit(
        "threshold_on_each_probability",
        "top_p_filter",
        "Tokens less probable than p go: p is what those that stay have together.",
        ("dropped = before >= p", "dropped = probs < p"),
    ),
    edit(
        "nucleus_as_log_probabilities",
        "top_p_filter",
        "What stays has become log-probabilities: logits that stay, stay as they are.",
        ("return logits.masked_fill(torch", "return logits.log_softmax(-1).masked_fill(torch"),
    ),
    edit(
        "nucleus_in_place",
        "top_p_filter",
        "The caller's logits are changed: masked_fill makes a new tensor, masked_fill_ does not.",
        ("return logits.masked_fill(torch", "return logits.masked_fill_(torch"),
    ),
    edit(
        "nucleus_in_float64",
        "top_p_filter",
        "The result is float64 whatever came in: only the sums are computed in more than the logits' dtype.",
        ("return logits.masked_fill(torch", "return logits.double().masked_fill(torch"),
    ),
    edit(
        "zero_outside_the_nucleus",
        "top_p_filter",
        "What goes becomes 0, and a logit of 0 is as good as any: it has to become -inf.",
        ("dropped), -math.inf)", "dropped), 0.0)"),
    ),
    edit(
        "p_above_1_accepted",
        "top_p_filter",
        "p above 1 can never be reached: it is a ValueError.",
        ("if not 0 <= p <= 1:", "if not 0 <= p:"),
    ),
    edit(
        "p_below_0_accepted",
        "top_p_filter",
        "p below 0 makes no sense: it is a ValueError.",
        ("if not 0 <= p <= 1:", "if not p <= 1:"),
    ),
    edit(
        "as_many_in_every_row",
        "top_p_filter",
        "As many tokens stay in every row as the widest nucleus has: each row has a number of its own.",
        (
            "    before = probs.cumsum(-1) - probs  # what the more probable ones have together\n    dropped = before >= p\n",
            "    before = probs.cumsum(-1) - probs\n    dropped = (before >= p).flatten(0, -2).all(0).expand_as(probs).clone()\n",
        ),
        ("    if p == 1:", "    if logits.dim() == 1:\n        return top_p_filter(logits[None], p)[0]\n    if p == 1:"),
    ),
    edit(
        "almost_1_keeps_everything",
        "top_p_filter",
        "A p just below 1 keeps everything: only 1 itself does.",
        ("if p == 1:", "if p > 0.999:"),
    ),
    edit(
        "almost_p_is_enough",
        "top_p_filter",
        "Tokens that have a little less than p together count as enough: compare without a tolerance.",
        ("dropped = before >= p", "dropped = before >= p - 1e-4"),
    ),
    # min_p_filter
    edit(
        "viewed_as_rows",
        "top_p_filter",
        "Logits of three dimensions fail where they are not contiguous: reshape does what view cannot.",
        ("logits.double()", "logits.view(-1, logits.shape[-1]).view(logits.shape).double()"),
    ),
    edit(
        "compared_with_min_p_itself",
        "min_p_filter",
        "Tokens less probable than min_p go, whatever the best one is: min_p is a share of the best one's probability.",
        ("distance > -math.log(min_p)", "logits.softmax(-1) < min_p"),
    ),
    edit(
        "share_of_the_logit",
        "min_p_filter",
        "Logits are compared where probabilities should be: a probability half as large is a logit smaller by log(2).",
        ("distance > -math.log(min_p)", "logits < min_p * logits.amax(-1, keepdim=True)"),
    ),
    edit(
        "sign_of_the_logarithm",
        "min_p_filter",
        "log(min_p) is negative: a token goes if it is further below the best than -log(min_p).",
        ("distance > -math.log(min_p)", "distance > math.log(min_p)"),
    ),
    edit(
        "improbable_ones_stay",
        "min_p_filter",
        "What should stay goes, and the other way around.",
        ("distance > -math.log(min_p)", "distance <= -math.log(min_p)"),
    ),
    edit(
        "best_of_all_rows",
        "min_p_filter",
        "The largest logit of the whole tensor is compared with: each row has a best token of its own.",
        ("logits.amax(-1, keepdim=True)", "logits.amax()"),
    ),
    edit(
        "log2_for_the_ratio",
        "min_p_filter",
        "The logarithm is the natural one, as the softmax's exponential is.",
        ("-math.log(min_p)", "-math.log2(min_p)"),
    ),
    edit(
        "equal_ones_go",
        "min_p_filter",
        "At min_p = 1 even the best token goes: to be as probable is enough.",
        ("distance > -math.log(min_p)", "distance >= -math.log(min_p)"),
    ),
    edit(
        "log_of_0",
        "min_p_filter",
        "min_p = 0 fails at log(0): nothing is dropped then.",
        ("    if min_p == 0:\n        return logits.clone()\n", ""),
    ),
    edit(
        "zero_taken_for_tiny",
        "min_p_filter",
        "At min_p = 0 improbable tokens go: all should stay, however improbable.",
        ("    if min_p == 0:\n        return logits.clone()\n", "    min_p = max(min_p, 1e-12)\n"),
    ),
    edit(
        "min_p_in_place",
        "min_p_filter",
        "The caller's logits are changed: masked_fill makes a new tensor, masked_fill_ does not.",
        ("logits.masked_fill(distance", "logits.masked_fill_(distance"),
    ),
    edit(
        "min_p_in_float32",
        "min_p_filter",
        "The result is float32 whatever came in: keep the logits' dtype.",
        ("logits.masked_fill(distance", "logits.float().masked_fill(distance"),
    ),
    edit(
        "min_p_relative_logits",
        "min_p_filter",
        "What stays is measured from the best one: logits that stay, stay as they are.",
        ("return logits.masked_fill(distance", "return (-distance).masked_fill(distance"),
    ),
    edit(
        "min_p_zero_filled",
        "min_p_filter",
        "What goes becomes 0, and a logit of 0 is as good as any: it has to become -inf.",
        ("-math.log(min_p), -math.inf)", "-math.log(min_p), 0.0)"),
    ),
    edit(
        "any_min_p_accepted",
        "min_p_filter",
        "min_p above 1 would drop even the best token: outside 0 to 1 it is a ValueError.",
        ("if not 0 <= min_p <= 1:", "if not 0 <= min_p:"),
    ),
    edit(
        "tiny_shares_raised",
        "min_p_filter",
        "A very small min_p counts as a larger one: use it as it is, only 0 has no logarithm.",
        ("-math.log(min_p)", "-math.log(max(min_p, 1e-9))"),
    ),
    edit(
        "exponentials_overflow",
        "min_p_filter",
        "exp of a large logit is infinite, and nothing is smaller than a share of that: subtract the largest logit first.",
        ("distance > -math.log(min_p)", "logits.exp() < logits.exp().amax(-1, keepdim=True) * min_p"),
    ),
    # repetition_penalty
    edit(
        "almost_as_probable_stays",
        "min_p_filter",
        "A token stays that has a little less than min_p times the largest probability: compare without a tolerance.",
        ("distance > -math.log(min_p)", "distance > -math.log(min_p) + 1e-4"),
    ),
    edit(
        "negative_logits_divided",
        "repetition_penalty",
        "A negative logit is divided too, which makes its token more probable: multiply it by the penalty.",
        ("torch.where(logits > 0, logits / penalty, logits * penalty)", "logits / penalty"),
    ),
    edit(
        "the_wrong_way_round",
        "repetition_penalty",
        "Positive logits are multiplied and negative ones divided: that rewards repetition.",
        ("logits > 0, logits / penalty, logits * penalty", "logits > 0, logits * penalty, logits / penalty"),
    ),
    edit(
        "penalty_subtracted",
        "repetition_penalty",
        "The penalty is subtracted: that is another rule. Here a positive logit is divided by it, a negative one multiplied.",
        ("torch.where(logits > 0, logits / penalty, logits * penalty)", "logits - penalty"),
    ),
    edit(
        "once_for_each_time",
        "repetition_penalty",
        "A token that occurred three times is penalised three times: once is enough.",
        (
            "scatter(-1, ids, True)",
            "scatter(-1, ids, True)\n"
            "    times = torch.zeros_like(logits).scatter_add(-1, ids, torch.ones_like(ids, dtype=logits.dtype))",
        ),
        (
            "torch.where(logits > 0, logits / penalty, logits * penalty)",
            "torch.where(logits > 0, logits / penalty**times, logits * penalty**times)",
        ),
    ),
    edit(
        "everyone_penalised",
        "repetition_penalty",
        "All tokens are penalised, those as well that never occurred.",
        ("return torch.where(seen, penalised, logits)", "return penalised"),
    ),
    edit(
        "the_others_penalised",
        "repetition_penalty",
        "The tokens that did not occur are penalised.",
        ("torch.where(seen, penalised, logits)", "torch.where(seen, logits, penalised)"),
    ),
    edit(
        "the_last_token_alone",
        "repetition_penalty",
        "Only the last token of ids is penalised: all of them are.",
        ("scatter(-1, ids, True)", "scatter(-1, ids[..., -1:], True)"),
    ),
    edit(
        "all_but_the_last_token",
        "repetition_penalty",
        "The last token of ids is left out.",
        ("scatter(-1, ids, True)", "scatter(-1, ids[..., :-1], True)"),
    ),
    edit(
        "ids_of_all_rows",
        "repetition_penalty",
        "What occurred in one row is penalised in all: each row has ids of its own.",
        ("    penalised = ", "    seen = seen.reshape(-1, seen.shape[-1]).any(0).expand_as(seen)\n    penalised = "),
    ),
    edit(
        "dropped_tokens_become_nan",
        "repetition_penalty",
        "-inf becomes NaN: choose with torch.where, for -inf times 0 is NaN.",
        ("return torch.where(seen, penalised, logits)", "return seen * penalised + ~seen * logits"),
    ),
    edit(
        "penalised_in_place",
        "repetition_penalty",
        "The caller's logits are changed: build a new tensor.",
        ("return torch.where(seen, penalised, logits)", "return logits.copy_(torch.where(seen, penalised, logits))"),
    ),
    edit(
        "penalty_in_float32",
        "repetition_penalty",
        "The result is float32 whatever came in: keep the logits' dtype.",
        ("return torch.where(seen, penalised, logits)", "return torch.where(seen, penalised.float(), logits.float())"),
    ),
    edit(
        "penalty_below_1_refused",
        "repetition_penalty",
        "A penalty below 1 is refused: it rewards repetition, which may be wanted.",
        ("if not penalty > 0:", "if not penalty >= 1:"),
    ),
    edit(
        "penalty_of_0_accepted",
        "repetition_penalty",
        "A penalty of 0 or below makes no sense: it is a ValueError.",
        ("if not penalty > 0:", "if penalty != penalty:"),
    ),
    edit(
        "negative_ids_wrapped",
        "repetition_penalty",
        "A negative id counts from the end of the vocabulary: it is a ValueError.",
        ("not 0 <= ids.min() <= ids.max()", "not ids.max()"),
        ("scatter(-1, ids, True)", "scatter(-1, ids % logits.shape[-1], True)"),
    ),
    edit(
        "large_ids_ignored",
        "repetition_penalty",
        "An id outside the vocabulary is passed over: it is a ValueError.",
        ("not 0 <= ids.min() <= ids.max() < logits.shape[-1]:", "ids.min() < 0:"),
        (
            "scatter(-1, ids, True)",
            "scatter(-1, torch.where(ids < logits.shape[-1], ids, ids[..., :1].clamp(max=logits.shape[-1] - 1)), True)",
        ),
    ),
    edit(
        "empty_ids_fail",
        "repetition_penalty",
        "A text without tokens fails: min and max of nothing are an error, so look whether there is anything first.",
        ("if ids.numel() and not 0", "if not 0"),
    ),
    edit(
        "rows_of_ids_shared",
        "repetition_penalty",
        "ids with other leading dimensions are taken all the same: they are a ValueError.",
        (
            "    if ids.shape[:-1] != logits.shape[:-1]:",
            "    if ids.dim() <= 2:\n"
            "        ids = ids[..., :1, :].expand(*logits.shape[:-1], -1) if ids.shape[:-1] != logits.shape[:-1] and "
            "ids.dim() > 1 else ids.expand(*logits.shape[:-1], -1)\n"
            "    if ids.shape[:-1] != logits.shape[:-1]:",
        ),
    ),
    edit(
        "first_leading_dimension_alone",
        "repetition_penalty",
        "Only the first of the leading dimensions is compared: all of them have to be alike.",
        (
            "ids.shape[:-1] != logits.shape[:-1]",
            "ids.dim() != logits.dim() or ids.dim() > 1 and len(ids) != len(logits)",
        ),
    ),
    edit(
        "unchecked_without_ids",
        "repetition_penalty",
        "Without any ids the arguments are not looked at: a penalty of 0 or other leading dimensions are ValueErrors then, too.",
        ("    if not penalty > 0:", "    if ids.shape[-1] == 0:\n        return logits.clone()\n    if not penalty > 0:"),
    ),
    edit(
        "ids_of_one_row_checked",
        "repetition_penalty",
        "Only the first row's ids are looked at: an id outside the vocabulary is a ValueError in any row.",
        (
            "if ids.numel() and not 0 <= ids.min() <= ids.max() <",
            "some = ids.reshape(-1, max(1, ids.shape[-1]))[:1]\n    if ids.numel() and not 0 <= some.min() <= some.max() <",
        ),
        ("scatter(-1, ids, True)", "scatter(-1, ids.clamp(0, logits.shape[-1] - 1), True)"),
    ),
    edit(
        "recent_tokens_alone",
        "repetition_penalty",
        "Only the last 64 ids count: all tokens in ids are penalised, however long ago they came.",
        ("scatter(-1, ids, True)", "scatter(-1, ids[..., -64:], True)"),
    ),
    edit(
        "small_logits_left_alone",
        "repetition_penalty",
        "A logit close to 0 is not penalised: every token in ids is, whatever its logit.",
        ("return torch.where(seen, penalised, logits)", "return torch.where(seen & (logits.abs() > 1e-3), penalised, logits)"),
    ),
    # sample
    edit(
        "penalty_up_to_5",
        "repetition_penalty",
        "A penalty above 5 counts as 5: any number above 0 is used as it is.",
        ("    seen =", "    penalty = min(penalty, 5.0)\n    seen ="),
    ),
    edit(
        "most_probable_always",
        "sample",
        "The most probable token is taken each time: that is greedy. Draw.",
        ("return torch.searchsorted(line, darts, right=True).squeeze(-1)", "return (logits + 0 * darts).argmax(-1)"),
    ),
    edit(
        "one_row_shifted_in_place",
        "sample",
        "The maximum is taken off logits without a batch in place: whoever gave them finds others. Leave them as they are.",
        ("line = logits.double()", "line = (logits.detach().sub_(logits.max()) if logits.dim() == 1 else logits).double()"),
    ),
    edit(
        "a_top_50_nobody_asked_for",
        "sample",
        "Only the 50 most probable tokens are ever drawn: filters are functions of their own, for whoever asks for them.",
        (
            "line = logits.double()",
            "kept = logits.topk(min(50, logits.shape[-1])).values[..., -1:]\n"
            "    line = logits.double().masked_fill(logits < kept, -math.inf)",
        ),
    ),
    edit(
        "a_nucleus_nobody_asked_for",
        "sample",
        "The least probable tokens, 2 % together, are never drawn: a filter is a function of its own, for who asks for it.",
        (
            "line = logits.double()",
            "best, order = logits.double().softmax(-1).sort(descending=True, stable=True)\n"
            "    late = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, best.cumsum(-1) - best >= 0.98)\n"
            "    line = logits.double().masked_fill(late, -math.inf)",
        ),
    ),
    edit(
        "drawn_evenly",
        "sample",
        "All tokens are equally frequent: draw from softmax(logits).",
        (
            "logits.double().softmax(-1).cumsum(-1)",
            "torch.ones_like(logits).double().masked_fill(logits == -math.inf, 0).cumsum(-1)",
        ),
    ),
    edit(
        "exponentials_without_a_sum",
        "sample",
        "exp overflows for large logits, and a dart from 0 to 1 needs probabilities: take the softmax.",
        ("logits.double().softmax(-1).cumsum(-1)", "logits.double().exp().cumsum(-1)"),
    ),
    edit(
        "logits_for_probabilities",
        "sample",
        "Logits are laid on the line as if they were probabilities: take the softmax first.",
        ("logits.double().softmax(-1).cumsum(-1)", "logits.double().clamp(min=0).add(1e-9).cumsum(-1)"),
    ),
    edit(
        "one_dart_for_all_rows",
        "sample",
        "One random number decides all rows: each row needs its own.",
        ("torch.rand(*line.shape[:-1], 1, generator", "torch.rand(1, generator"),
        ("* line[..., -1:]", ".expand(*line.shape[:-1], 1) * line[..., -1:]"),
    ),
    edit(
        "generator_forgotten",
        "sample",
        "The global random state is used: pass generator=generator to torch.rand.",
        ("generator=generator, dtype", "dtype"),
    ),
    edit(
        "seeded_by_hand",
        "sample",
        "The same tokens come each time: the generator's own state decides, never a seed of your own.",
        ("    line = ", "    generator = torch.Generator().manual_seed(generator.initial_seed())\n    line = "),
    ),
    edit(
        "global_seed_set",
        "sample",
        "torch.manual_seed changes the random numbers of the whole program: draw from the generator.",
        (
            "    line = ",
            "    torch.manual_seed(int(torch.randint(1 << 30, (1,), generator=generator)))\n    generator = None\n    line = ",
        ),
    ),
    edit(
        "noise_of_the_wrong_kind",
        "sample",
        "Normal noise on the logits does not give the softmax's probabilities: Gumbel noise does.",
        (
            "return torch.searchsorted(line, darts, right=True).squeeze(-1)",
            "return (logits + torch.randn(logits.shape, generator=generator, dtype=torch.float64)).argmax(-1)",
        ),
    ),
    edit(
        "noise_on_probabilities",
        "sample",
        "Gumbel noise is added to the probabilities: it belongs to the logits.",
        (
            "return torch.searchsorted(line, darts, right=True).squeeze(-1)",
            "noise = -(-torch.rand(logits.shape, generator=generator, dtype=torch.float64).log()).log()\n"
            "    return (logits.softmax(-1) + noise).masked_fill(logits == -math.inf, -math.inf).argmax(-1)",
        ),
    ),
    edit(
        "one_token_further",
        "sample",
        "The token after the one that was hit is taken: the first stretch that ends beyond the dart is the right one.",
        (".squeeze(-1)", ".squeeze(-1).add(1) % logits.shape[-1]"),
    ),
    edit(
        "last_token_never",
        "sample",
        "The last token is never drawn: darts reach to the end of the line.",
        (".squeeze(-1)", ".squeeze(-1).clamp(max=max(0, logits.shape[-1] - 2))"),
    ),
    edit(
        "half_precision_line",
        "sample",
        "In half precision the running totals stand still, and the end of the vocabulary never comes: compute in float32.",
        (
            "line = logits.double().softmax(-1).cumsum(-1)",
            "probs, total, ends = logits.softmax(-1), 0, []\n"
            "    for x in probs[(0,) * (probs.dim() - 1)]:\n"
            "        total = total + x\n"
            "        ends.append(total)\n"
            "    ends = torch.stack(ends).double()\n"
            "    line = ends.expand(probs.shape).contiguous() if len(ends) > 1000 else logits.double().softmax(-1).cumsum(-1)",
        ),
    ),
    edit(
        "probabilities_squared",
        "sample",
        "The softmax is taken twice: once gives the probabilities.",
        (
            "logits.double().softmax(-1).cumsum",
            "logits.double().softmax(-1).softmax(-1).masked_fill(logits == -math.inf, 0).cumsum",
        ),
    ),
    edit(
        "tokens_with_a_dimension",
        "sample",
        "The tokens come as (..., 1): drop the last dimension.",
        (".squeeze(-1)", ""),
    ),
    edit(
        "tokens_as_floats",
        "sample",
        "Tokens are indices: int64.",
        (".squeeze(-1)", ".squeeze(-1).to(logits.dtype)"),
    ),
    edit(
        "row_dimension_lost",
        "sample",
        "All dimensions of size 1 are dropped: squeeze the last one only.",
        (".squeeze(-1)", ".squeeze()"),
    ),
    edit(
        "softmax_in_half_precision",
        "sample",
        "The softmax is computed in the logits' half precision and converted afterwards, too late: convert the logits first.",
        ("logits.double().softmax(-1)", "logits.softmax(-1).double()"),
    ),
    edit(
        "tokens_in_another_order",
        "sample",
        "With two leading dimensions the tokens come in another order than their rows: reshape, and transpose nothing.",
        (
            "    return torch.searchsorted(line, darts, right=True).squeeze(-1)",
            "    tokens = torch.searchsorted(line, darts, right=True).squeeze(-1)\n"
            "    return tokens.T.reshape(tokens.shape) if tokens.dim() == 2 else tokens",
        ),
    ),
    edit(
        "mirrored_darts",
        "sample",
        "Half of the rows get the other half's numbers, mirrored: each row needs a random number of its own.",
        (
            "    return",
            "    half = len(darts) // 2 if darts.dim() > 1 else 0\n"
            "    darts = torch.cat([darts[: len(darts) - half], line[..., -1:][:half] - darts[:half]]) if half else darts\n"
            "    return",
        ),
    ),
    edit(
        "darts_in_half_precision",
        "sample",
        "Darts have the logits' dtype: in half precision there are too few of them to hit every token.",
        ("dtype=line.dtype, device=line.device)", "dtype=logits.dtype, device=line.device).double()"),
    ),
    edit(
        "numpy_of_recorded_logits",
        "sample",
        "Logits may require gradients, and NumPy refuses those: detach them.",
        (
            "torch.searchsorted(line, darts, right=True).squeeze(-1)",
            "torch.from_numpy(line.numpy() <= darts.numpy()).sum(-1)",
        ),
    ),
    edit(
        "darts_shared_along_a_dimension",
        "sample",
        "Rows share random numbers along a leading dimension: each row needs its own.",
        ("    return", "    darts = darts[:, :1].expand_as(darts).contiguous() if darts.dim() > 2 else darts\n    return"),
    ),
    # greedy_search
    edit(
        "dart_at_the_very_beginning",
        "sample",
        "A dart at 0 hits a first token of probability 0: take the first stretch that ends beyond the dart.",
        ("right=True", "right=False"),
    ),
    edit(
        "darts_beyond_the_line",
        "sample",
        "A dart close to 1 flies past a line whose rounded length is less: multiply the darts by the last running total.",
        (" * line[..., -1:]", ""),
    ),
    edit(
        "finite_for_dropped",
        "sample",
        "-inf is replaced by a number, and where all that is left is less than that, dropped tokens come back.",
        ("logits.double().softmax(-1)", "logits.double().nan_to_num(neginf=-30.0).softmax(-1)"),
    ),
    edit(
        "an_equal_share_for_all_rows",
        "sample",
        "Darts are spread evenly over the rows, so that counts come out evener than chance: rows are drawn independently.",
        (
            "torch.rand(*line.shape[:-1], 1, generator=generator, dtype=line.dtype, device=line.device)",
            "((torch.randperm(line[..., 0].numel(), generator=generator) + torch.rand((), generator=generator, dtype=line.dtype))"
            " / max(1, line[..., 0].numel())).reshape(*line.shape[:-1], 1)",
        ),
    ),
    edit(
        "eos_not_kept",
        "greedy_search",
        "The text ends before its eos_id: append it first, then stop.",
        (
            "        ids = torch.cat([ids, token[None]])\n        if token == eos_id:\n            break\n",
            "        if token == eos_id:\n            break\n        ids = torch.cat([ids, token[None]])\n",
        ),
    ),
    edit(
        "never_stops_at_eos",
        "greedy_search",
        "The text goes on behind its eos_id: stop there.",
        ("        if token == eos_id:\n            break\n", ""),
    ),
    edit(
        "max_len_without_the_prefix",
        "greedy_search",
        "max_len new tokens come: it counts the prefix as well.",
        ("while len(ids) < max_len:", "while len(ids) < max_len + len(prefix):"),
    ),
    edit(
        "one_token_too_many",
        "greedy_search",
        "The text has max_len + 1 tokens: go on only while there are fewer than max_len.",
        ("while len(ids) < max_len:", "while len(ids) <= max_len:"),
    ),
    edit(
        "one_token_too_few_found",
        "greedy_search",
        "The text stops one token short of max_len.",
        ("while len(ids) < max_len:", "while len(ids) < max_len - 1:"),
    ),
    edit(
        "prefix_left_out",
        "greedy_search",
        "Only the new tokens come back: the prefix belongs to the text.",
        ("            break\n    return ids", "            break\n    return ids[len(prefix) :]"),
    ),
    edit(
        "least_probable_taken",
        "greedy_search",
        "The least probable token is taken: argmax, not argmin.",
        (".argmax()", ".argmin()"),
    ),
    edit(
        "last_token_alone_shown",
        "greedy_search",
        "step sees the last token alone: it wants the whole text so far.",
        ("step(ids[None])", "step(ids[None, -1:])"),
    ),
    edit(
        "text_without_a_batch",
        "greedy_search",
        "step is called with (t,): it wants a batch, (1, t).",
        ("step(ids[None])[0]", "step(ids)[0]"),
    ),
    edit(
        "prefix_asked_again_and_again",
        "greedy_search",
        "step sees the prefix every time, never what has been added: give it the text as it is now.",
        ("step(ids[None])", "step(prefix[None])"),
    ),
    edit(
        "step_called_once_more",
        "greedy_search",
        "step is called before it is known whether another token is wanted: one call for each new token.",
        ("            break\n    return ids", "            break\n    step(ids[None])\n    return ids"),
    ),
    edit(
        "eos_in_the_prefix_ends_it",
        "greedy_search",
        "An eos_id in the prefix ends the search: only a new one does.",
        ("while len(ids) < max_len:", "while len(ids) < max_len and eos_id not in ids.tolist():"),
    ),
    edit(
        "eos_0_overlooked",
        "greedy_search",
        "An eos_id of 0 is taken for none: 0 is a token like any other.",
        ("if token == eos_id:", "if eos_id and token == eos_id:"),
    ),
    edit(
        "long_prefix_accepted",
        "greedy_search",
        "A prefix longer than max_len is returned as it is: it is a ValueError.",
        ("    if len(prefix) > max_len:", "    if False:"),
    ),
    edit(
        "full_prefix_refused",
        "greedy_search",
        "A prefix of just max_len tokens is refused: there is nothing to do, and it comes back.",
        ("    if len(prefix) > max_len:", "    if len(prefix) >= max_len:"),
    ),
    edit(
        "ids_as_floats",
        "greedy_search",
        "Token ids are int64.",
        ("            break\n    return ids", "            break\n    return ids.float()"),
    ),
    edit(
        "window_of_eight",
        "greedy_search",
        "step sees the last eight tokens: it wants the whole text so far.",
        ("step(ids[None])", "step(ids[None, -8:])"),
    ),
    edit(
        "greedy_with_a_seed",
        "greedy_search",
        "torch.manual_seed changes the random numbers of the whole program, and nothing is random here: leave it out.",
        ("    ids = prefix\n", "    torch.manual_seed(0)\n    ids = prefix\n"),
    ),
    # beam_search
    edit(
        "answers_overwritten",
        "greedy_search",
        "What step gave is changed in place, and step may have kept it: compute into a new tensor.",
        ("token = step(ids[None])[0].argmax()", "token = step(ids[None])[0].exp_().argmax()"),
    ),
    edit(
        "best_of_each_text",
        "beam_search",
        "Each text in the beam keeps its own best token, so two good continuations of one text can never both go on: rank all "
        "candidates together.",
        (
            "        best = totals.flatten()",
            "        totals = totals.masked_fill(totals < totals.amax(-1, keepdim=True), -math.inf)\n"
            "        best = totals.flatten()",
        ),
    ),
    edit(
        "last_log_probability_alone",
        "beam_search",
        "Candidates are ranked by their last token alone: add what the text had before.",
        (
            "totals = log_probs + torch.tensor([[log_prob] for _, log_prob in beam], dtype=torch.float64, "
            "device=log_probs.device)",
            "totals = log_probs",
        ),
    ),
    edit(
        "probabilities_multiplied_with_logs",
        "beam_search",
        "Log-probabilities are multiplied: the log of a product is a sum.",
        ("totals = log_probs + torch", "totals = -log_probs.abs() * torch"),
        ("[[log_prob] for _, log_prob in beam]", "[[abs(log_prob) or 1.0] for _, log_prob in beam]"),
    ),
    edit(
        "parent_and_token_swapped",
        "beam_search",
        "divmod of the flat index gives the parent first, then the token.",
        ("parent, token = divmod(index, totals.shape[1])", "token, parent = divmod(index, totals.shape[0])"),
    ),
    edit(
        "always_the_first_parent",
        "beam_search",
        "Every candidate continues the first text of the beam: its parent is index // vocab.",
        ("torch.cat([beam[parent][0],", "torch.cat([beam[0][0],"),
    ),
    edit(
        "finished_texts_lost",
        "beam_search",
        "Texts that end in eos_id are dropped: they are results.",
        ("                finish(ids, log_prob)\n            else", "                pass\n            else"),
    ),
    edit(
        "finished_texts_go_on",
        "beam_search",
        "A text that ended in eos_id is continued: it is a result, and leaves the beam.",
        (
            "            if token == eos_id:\n"
            "                finish(ids, log_prob)\n"
            "            else:\n"
            "                candidates.append((ids, log_prob))",
            "            candidates.append((ids, log_prob))",
        ),
    ),
    edit(
        "finished_texts_take_places",
        "beam_search",
        "Texts that end take places in the beam, which grows narrower: the beam_size best that do not end go on.",
        ("topk(min(2 * beam_size, totals.numel()))", "topk(min(beam_size, totals.numel()))"),
    ),
    edit(
        "every_ending_counts",
        "beam_search",
        "Endings are results however improbable they are: only those among the beam_size best candidates.",
        (" or (token == eos_id and rank >= beam_size)", ""),
    ),
    edit(
        "endings_count_while_the_beam_has_room",
        "beam_search",
        "An ending counts until the next beam is full: only those among the beam_size best candidates are results.",
        ("token == eos_id and rank >= beam_size", "token == eos_id and len(candidates) >= beam_size"),
    ),
    edit(
        "stops_with_the_first_result",
        "beam_search",
        "The search stops with its first result: a text still in the beam may become a better one.",
        ("while beam and len(beam[0][0]) < max_len:", "while beam and not len(results) and len(beam[0][0]) < max_len:"),
    ),
    edit(
        "unfinished_texts_lost",
        "beam_search",
        "Texts that have max_len tokens without an eos_id are dropped: they are results as well.",
        (
            "    for ids, log_prob in beam:\n        finish(ids, log_prob)\n",
            "    if not len(results):\n        for ids, log_prob in beam:\n            finish(ids, log_prob)\n",
        ),
    ),
    edit(
        "beam_of_copies",
        "beam_search",
        "The beam begins with beam_size copies of the prefix, so every text comes several times: begin with one.",
        ("beam = [(prefix, 0.0)]", "beam = [(prefix, 0.0)] * beam_size"),
    ),
    edit(
        "beam_too_wide",
        "beam_search",
        "Twice as many texts as beam_size go on.",
        ("beam = candidates[:beam_size]", "beam = candidates"),
    ),
    edit(
        "beam_too_narrow",
        "beam_search",
        "One text fewer than beam_size goes on.",
        ("beam = candidates[:beam_size]", "beam = candidates[: max(1, beam_size - 1)]"),
    ),
    edit(
        "worst_candidates",
        "beam_search",
        "The least probable candidates go on: topk with largest=True.",
        ("topk(min(2 * beam_size, totals.numel()))", "topk(min(2 * beam_size, totals.numel()), largest=False)"),
    ),
    edit(
        "penalty_forgotten",
        "beam_search",
        "length_penalty changes nothing: divide by the number of new tokens to its power.",
        (" ** length_penalty, ids)", " ** 0.0, ids)"),
    ),
    edit(
        "penalty_on_the_whole_length",
        "beam_search",
        "The prefix is counted in the length penalty: only the new tokens are.",
        ("max(1, len(ids) - len(prefix))", "max(1, len(ids))"),
    ),
    edit(
        "penalty_multiplied",
        "beam_search",
        "The log-probability is multiplied by the length to the power of the penalty, which punishes long texts twice: divide.",
        ("log_prob / max(1, len(ids) - len(prefix)) **", "log_prob * max(1, len(ids) - len(prefix)) **"),
    ),
    edit(
        "penalty_without_eos",
        "beam_search",
        "eos_id is not counted in the length: it is a new token like any other.",
        (
            "results.push(log_prob / max(1, len(ids) - len(prefix))",
            "results.push(log_prob / max(1, len(ids) - len(prefix) - (int(ids[-1]) == eos_id))",
        ),
    ),
    edit(
        "penalty_of_gnmt",
        "beam_search",
        "The length is counted as (5 + n) / 6, as in Wu et al.: here the number of new tokens itself is meant.",
        ("max(1, len(ids) - len(prefix)) **", "((5 + len(ids) - len(prefix)) / 6) **"),
    ),
    edit(
        "candidates_ranked_with_the_penalty",
        "beam_search",
        "The penalised score goes on as the text's log-probability: the penalty orders results, nothing else.",
        (
            "                candidates.append((ids, log_prob))",
            "                candidates.append((ids, log_prob / (len(ids) - len(prefix)) ** length_penalty))",
        ),
    ),
    edit(
        "scores_without_eos",
        "beam_search",
        "The eos_id's own log-probability is left out of the score.",
        (
            "                finish(ids, log_prob)\n            else",
            "                finish(ids, beam[parent][1])\n            else",
        ),
    ),
    edit(
        "probability_as_score",
        "beam_search",
        "The score is a probability: log-probabilities are asked for.",
        ("return [(ids, score) for", "return [(ids, math.exp(score)) for"),
    ),
    edit(
        "score_before_ids",
        "beam_search",
        "The pairs come as (score, ids): ids first.",
        ("return [(ids, score) for", "return [(score, ids) for"),
    ),
    edit(
        "best_result_alone",
        "beam_search",
        "Only the best result comes back: up to beam_size are asked for.",
        ("in results.items()]", "in results.items()[:1]]"),
    ),
    edit(
        "results_worst_first",
        "beam_search",
        "The worst result comes first.",
        ("in results.items()]", "in results.items()[::-1]]"),
    ),
    edit(
        "all_results_returned",
        "beam_search",
        "More than beam_size results come back: the best beam_size are asked for.",
        ("results = TopKHeap(beam_size)", "results = TopKHeap(10**6)"),
    ),
    edit(
        "new_tokens_alone",
        "beam_search",
        "The results are the new tokens alone: the prefix belongs to each text.",
        ("return [(ids, score) for", "return [(ids[len(prefix) :], score) for"),
    ),
    edit(
        "impossible_candidates",
        "beam_search",
        "Candidates of log-probability -inf are taken in where there is room: they cannot occur.",
        ("if log_prob == -math.inf or (", "if ("),
    ),
    edit(
        "one_text_at_a_time",
        "beam_search",
        "step is called for each text of the beam: put them into one batch.",
        (
            "log_probs = step(torch.stack([ids for ids, _ in beam])).double()",
            "log_probs = torch.cat([step(ids[None]) for ids, _ in beam]).double()",
        ),
    ),
    edit(
        "last_tokens_alone",
        "beam_search",
        "step sees the last tokens alone: it wants the whole texts.",
        ("torch.stack([ids for ids, _ in beam])", "torch.stack([ids[-1:] for ids, _ in beam])"),
    ),
    edit(
        "limit_without_the_prefix",
        "beam_search",
        "max_len counts the prefix as well: the search goes on too long.",
        ("len(beam[0][0]) < max_len:", "len(beam[0][0]) < max_len + len(prefix):"),
    ),
    edit(
        "eos_in_the_prefix_ends_the_search",
        "beam_search",
        "An eos_id in the prefix ends the search: only a new one does.",
        ("while beam and", "while beam and eos_id not in prefix.tolist() and"),
    ),
    edit(
        "eos_0_goes_on",
        "beam_search",
        "An eos_id of 0 is taken for none: 0 is a token like any other.",
        ("            if token == eos_id:\n", "            if eos_id and token == eos_id:\n"),
    ),
    edit(
        "beam_of_nothing",
        "beam_search",
        "A beam_size of 0 is taken for 1: it is a ValueError.",
        (
            '    if beam_size < 1:\n        raise ValueError(f"beam_size must be at least 1, not {beam_size}")\n',
            "    beam_size = max(1, beam_size)\n",
        ),
    ),
    edit(
        "prefix_longer_than_the_limit",
        "beam_search",
        "A prefix longer than max_len is returned as it is: it is a ValueError.",
        ("    if len(prefix) > max_len:", "    if False:"),
    ),
    edit(
        "prefix_of_max_len_without_result",
        "beam_search",
        "A prefix of just max_len tokens gives no result: it is the one result, with a score of 0.",
        (
            "    results = TopKHeap(beam_size)\n",
            "    if len(prefix) == max_len:\n        return []\n    results = TopKHeap(beam_size)\n",
        ),
    ),
    edit(
        "one_candidate_to_spare",
        "beam_search",
        "Of beam_size + 1 candidates several may end, and too few go on: up to beam_size may end, so look at twice as many.",
        ("topk(min(2 * beam_size, totals.numel()))", "topk(min(beam_size + 1, totals.numel()))"),
    ),
    edit(
        "one_short_of_twice_as_many",
        "beam_search",
        "Where beam_size of the best candidates end, the last that goes on is the one at twice beam_size: look at that one, too.",
        ("topk(min(2 * beam_size, totals.numel()))", "topk(min(2 * beam_size - 1, totals.numel()))"),
    ),
    edit(
        "probabilities_underflow",
        "beam_search",
        "Texts are dropped whose probability as a number is 0: their log-probability is finite, so add logs and form no product.",
        ("if log_prob == -math.inf or (", "if math.exp(log_prob) == 0 or ("),
    ),
    edit(
        "scores_as_tensors",
        "beam_search",
        "The scores are tensors: plain floats are asked for.",
        ("return [(ids, score) for", "return [(ids, torch.tensor(score)) for"),
    ),
    edit(
        "results_as_lists",
        "beam_search",
        "The ids of a result are a list: a tensor of int64 is asked for, as the prefix is one.",
        ("return [(ids, score) for", "return [(ids.tolist(), score) for"),
    ),
    # speculative_accept
    edit(
        "nothing_divided_by_nothing",
        "beam_search",
        "A prefix of max_len tokens fails with a length penalty: nothing is new in it, and 0 / 0 is no number. Its score is 0.",
        ("max(1, len(ids) - len(prefix))", "(len(ids) - len(prefix))"),
    ),
    edit(
        "beam_of_the_last_eight",
        "beam_search",
        "step sees the last eight tokens: it wants the whole texts so far.",
        ("step(torch.stack([ids for ids, _ in beam]))", "step(torch.stack([ids for ids, _ in beam])[:, -8:])"),
    ),
    edit(
        "totals_written_over_the_answers",
        "beam_search",
        "What step gave is changed in place, and step may have kept it: compute the totals into a new tensor.",
        (".double()  # (beams, vocab)", "  # (beams, vocab)"),
        ("totals = log_probs + torch", "totals = log_probs.add_(torch"),
        ("device=log_probs.device)", "device=log_probs.device))"),
    ),
    edit(
        "results_one_by_one",
        "beam_search",
        "The results come from a generator: a list is asked for.",
        ("return [(ids, score) for score, ids in results.items()]", "return ((ids, score) for score, ids in results.items())"),
    ),
    edit(
        "everything_accepted",
        "speculative_accept",
        "Every draft token stands: accept with probability min(1, p / q) only.",
        (">= p[token]:", ">= 2:"),
    ),
    edit(
        "nothing_accepted",
        "speculative_accept",
        "No draft token ever stands: where p is at least q it always does.",
        (">= p[token]:", ">= -1:"),
    ),
    edit(
        "accepted_if_more_probable",
        "speculative_accept",
        "A token stands only where the target finds it at least as probable: where it does not, it stands with probability p "
        "/ q.",
        ("torch.rand((), generator=generator, dtype=p.dtype, device=p.device) * q[token] >= p[token]", "q[token] > p[token]"),
    ),
    edit(
        "accepted_with_p_alone",
        "speculative_accept",
        "A token stands with probability p(x): divide by q(x), for the draft has chosen it already.",
        (" * q[token] >= p[token]", " >= p[token]"),
    ),
    edit(
        "ratio_turned_around",
        "speculative_accept",
        "A token stands with probability q / p: it is p / q.",
        (" * q[token] >= p[token]", " * p[token] >= q[token]"),
    ),
    edit(
        "refusal_draws_from_the_target",
        "speculative_accept",
        "After a refusal the next token comes from p itself, so what the draft likes comes too often: draw from max(0, p - q).",
        ("(missing if missing.any() else p).log()", "p.log()"),
    ),
    edit(
        "refusal_draws_from_the_draft",
        "speculative_accept",
        "After a refusal the next token comes from the draft's distribution: draw from max(0, p - q).",
        ("(missing if missing.any() else p).log()", "q.log()"),
    ),
    edit(
        "difference_turned_around",
        "speculative_accept",
        "After a refusal the next token comes from max(0, q - p), what the draft has too much of: it is max(0, p - q).",
        ("missing = (p - q).clamp(min=0)", "missing = (q - p).clamp(min=0)"),
    ),
    edit(
        "difference_by_size",
        "speculative_accept",
        "After a refusal the next token comes from |p - q|: negative differences count as 0.",
        ("(p - q).clamp(min=0)", "(p - q).abs()"),
    ),
    edit(
        "difference_not_normalised",
        "speculative_accept",
        "The differences are taken for logits: sample wants their logarithm, which the softmax then normalises.",
        ("(missing if missing.any() else p).log()", "missing"),
    ),
    edit(
        "most_probable_after_a_refusal",
        "speculative_accept",
        "After a refusal the most probable token is taken: draw it.",
        ("int(sample((missing if missing.any() else p).log(), generator))", "int(missing.argmax())"),
    ),
    edit(
        "refused_token_dropped_only",
        "speculative_accept",
        "A refused token is passed over and the draft goes on: the first refusal ends it.",
        ("            return i, int(sample((missing if missing.any() else p).log(), generator))\n", "            n = i\n"),
    ),
    edit(
        "row_after_the_refusal",
        "speculative_accept",
        "After a refusal at i the next token comes from row i + 1: it takes the refused token's place, so row i.",
        ("            missing = (p - q)", "            p = target_probs[i + 1].double()\n            missing = (p - q)"),
    ),
    edit(
        "refused_token_counted",
        "speculative_accept",
        "The refused token is counted among the accepted: i tokens stand when the one at i is refused.",
        ("            return i, int(", "            return i + 1, int("),
    ),
    edit(
        "rows_of_the_draft_not_counted",
        "speculative_accept",
        "draft_probs may have more rows than there are draft tokens: refuse that, for rows and tokens belong together.",
        (
            "if draft_tokens.shape != (n,) or target_probs",
            "n = min(n, len(draft_tokens)) if draft_tokens.dim() == 1 and n > 1 else n\n"
            "    if draft_tokens.shape != (n,) or target_probs",
        ),
    ),
    edit(
        "vocabularies_of_no_draft_not_compared",
        "speculative_accept",
        "Without draft tokens the two vocabularies are not compared: shapes that do not fit together are a ValueError.",
        ("target_probs.shape != (n + 1, vocab):", "target_probs.shape != (n + 1, vocab if n else target_probs.shape[-1]):"),
    ),
    edit(
        "last_row_forgotten",
        "speculative_accept",
        "When all stand the next token comes from the row before the last: target_probs has one row more for this.",
        ("sample(target_probs[n].log(), generator)", "sample(target_probs[max(0, n - 1)].log(), generator)"),
    ),
    edit(
        "no_token_after_a_perfect_draft",
        "speculative_accept",
        "When all stand the last draft token is returned again: one more token is drawn from the target's last row.",
        (
            "    return n, int(sample(target_probs[n].log(), generator))",
            "    return n, int(draft_tokens[-1]) if n else int(sample(target_probs[n].log(), generator))",
        ),
    ),
    edit(
        "last_row_taken_for_logits",
        "speculative_accept",
        "The target's last row is taken for logits: sample wants the logarithm of probabilities.",
        ("sample(target_probs[n].log(), generator)", "sample(target_probs[n], generator)"),
    ),
    edit(
        "last_token_most_probable",
        "speculative_accept",
        "When all stand the most probable token of the last row is taken: draw it.",
        ("int(sample(target_probs[n].log(), generator))", "int(target_probs[n].argmax())"),
    ),
    edit(
        "one_number_for_the_whole_draft",
        "speculative_accept",
        "One random number decides the whole draft: each token needs its own.",
        ("    for i, token in", "    u = torch.rand((), generator=generator, dtype=torch.float64)\n    for i, token in"),
        ("torch.rand((), generator=generator, dtype=p.dtype, device=p.device) *", "u *"),
    ),
    edit(
        "product_of_the_ratios",
        "speculative_accept",
        "The ratios of all tokens so far are multiplied: each token is judged by its own.",
        ("    for i, token in", "    before = 1.0\n    for i, token in"),
        ("            missing = (p - q)", "            missing = (p - q)"),
        (" * q[token] >= p[token]:", " * q[token] >= p[token] * (before := before * min(1.0, float(p[token] / q[token]))):"),
    ),
    edit(
        "compared_with_a_half",
        "speculative_accept",
        "A token stands where p is at least half of q: let a random number decide.",
        ("torch.rand((), generator=generator, dtype=p.dtype, device=p.device) * q[token]", "0.5 * q[token]"),
    ),
    edit(
        "results_as_tensors",
        "speculative_accept",
        "The results are tensors: plain ints are asked for.",
        (
            "return i, int(sample((missing if missing.any() else p).log(), generator))",
            "return i, sample((missing if missing.any() else p).log(), generator)",
        ),
        ("return n, int(sample(target_probs[n].log(), generator))", "return n, sample(target_probs[n].log(), generator)"),
    ),
    edit(
        "speculation_without_the_generator",
        "speculative_accept",
        "The global random state decides what stands: pass generator=generator to torch.rand.",
        ("torch.rand((), generator=generator, dtype", "torch.rand((), dtype"),
    ),
    edit(
        "draft_overwritten",
        "speculative_accept",
        "The target's probabilities are changed in place: compute the difference into a new tensor.",
        ("missing = (p - q).clamp(min=0)", "missing = target_probs[i].sub_(draft_probs[i]).clamp_(min=0)"),
    ),
    edit(
        "any_shapes_accepted",
        "speculative_accept",
        "Rows too few or too many are not noticed: shapes that do not fit together are a ValueError.",
        (
            "    if draft_tokens.shape != (n,) or target_probs.shape != (n + 1, vocab):",
            "    n = min(n, len(draft_tokens), len(target_probs) - 1)\n    if n < 0:",
        ),
    ),
    edit(
        "any_token_accepted",
        "speculative_accept",
        "A token outside the vocabulary is taken for another one: it is a ValueError.",
        (
            "    if n and not 0 <= draft_tokens.min() <= draft_tokens.max() < vocab:",
            "    draft_tokens = draft_tokens % vocab\n    if False:",
        ),
    ),
    edit(
        "stands_too_seldom",
        "speculative_accept",
        "Tokens stand a little too seldom: with probability p / q where p is below q, without any further factor.",
        (">= p[token]:", ">= p[token] * (0.9 if p[token] < q[token] else 1):"),
    ),
    edit(
        "stands_too_often",
        "speculative_accept",
        "Tokens stand a little too often: with probability p / q, without any allowance.",
        (">= p[token]:", ">= p[token] * 1.1:"),
    ),
    edit(
        "draft_counts_less_in_the_difference",
        "speculative_accept",
        "After a refusal only a part of q is subtracted, so that what the draft likes comes too often: draw from max(0, p - q).",
        ("missing = (p - q)", "missing = (p - 0.9 * q)"),
    ),
    edit(
        "tokens_checked_when_reached",
        "speculative_accept",
        "A token outside the vocabulary is noticed only when its turn comes: look at all of them before anything is drawn.",
        (
            "    if n and not 0 <= draft_tokens.min() <= draft_tokens.max() < vocab:\n"
            '        raise ValueError(f"draft_tokens must be from 0 to {vocab - 1}")\n',
            "",
        ),
        ("        p, q = ", "        if not 0 <= token < vocab:\n            raise ValueError(token)\n        p, q = "),
    ),
    edit(
        "longer_drafts_accepted",
        "speculative_accept",
        "A draft with more tokens than rows is taken: shapes that do not fit together are a ValueError.",
        ("if draft_tokens.shape != (n,)", "if len(draft_tokens) < n"),
    ),
    edit(
        "only_the_number_of_tokens_checked",
        "speculative_accept",
        "draft_tokens (n, 1) are taken for (n,): shapes that do not fit together are a ValueError.",
        ("if draft_tokens.shape != (n,)", "if len(draft_tokens) != n"),
        ("enumerate(draft_tokens.tolist())", "enumerate(draft_tokens.flatten().tolist())"),
    ),
    edit(
        "a_thousand_places",
        "TopKHeap",
        "There are 1024 places at most, whatever k is: keep k.",
        ("self.k = k", "self.k = min(k, 1024)"),
    ),
    edit(
        "temperature_kept_in_bounds",
        "apply_temperature",
        "Very large temperatures are made smaller and very small ones larger: divide by what is given.",
        ("return logits / temperature", "return logits / min(max(temperature, 1e-8), 1e8)"),
    ),
    edit(
        "temperature_1_without_gradient",
        "apply_temperature",
        "At temperature 1 the result is a detached copy, through which no gradient flows: return logits / temperature "
        "there, too.",
        (
            "    return logits / temperature",
            "    if temperature == 1:\n        return logits.detach().clone()\n    return logits / temperature",
        ),
    ),
    edit(
        "a_thousand_at_most",
        "top_k_filter",
        "At most 1000 logits stay, whatever k is: only the vocabulary's size limits it.",
        ("topk(min(k, logits", "topk(min(k, 1000, logits"),
    ),
    edit(
        "three_dimensions_at_most",
        "top_p_filter",
        "Logits of four dimensions fail: any number may stand before the vocabulary.",
        ("    if p == 1:", '    if logits.dim() > 3:\n        raise RuntimeError("logits")\n    if p == 1:'),
    ),
    edit(
        "nucleus_of_3500_at_most",
        "top_p_filter",
        "The nucleus ends after 3500 tokens: in a long vocabulary it may take more of them to reach p.",
        ("    dropped = before >= p\n", "    dropped = (before >= p) | (torch.arange(probs.shape[-1]) >= 3500)\n"),
    ),
    edit(
        "p_close_to_1_taken_for_1",
        "top_p_filter",
        "A p close to 1 is taken for 1, so that even a model that is sure of itself has its tail kept: only p = 1 keeps "
        "everything.",
        ("    if p == 1:", "    if p > 0.999999:"),
    ),
    edit(
        "dropped_tokens_get_a_share",
        "top_p_filter",
        "Tokens of logit -inf are given a finite logit before the softmax, and with it a share of the probability: "
        "exp(-inf) is 0, as it should be.",
        ("logits.double().softmax", "logits.double().nan_to_num(neginf=-10.0).softmax"),
    ),
    edit(
        "p_of_1_without_gradient",
        "top_p_filter",
        "At p = 1 the result is a detached copy, through which no gradient flows: clone() is enough.",
        ("return logits.clone()", "return logits.detach().clone()"),
    ),
    edit(
        "min_p_of_0_without_gradient",
        "min_p_filter",
        "At min_p = 0 the result is a detached copy, through which no gradient flows: clone() is enough.",
        ("return logits.clone()", "return logits.detach().clone()"),
    ),
    edit(
        "ids_of_the_first_1000",
        "repetition_penalty",
        "Only the first 1000 ids of a row are looked at: a text may be longer.",
        ("scatter(-1, ids, True)", "scatter(-1, ids[..., :1000], True)"),
    ),
    edit(
        "penalty_of_1_without_gradient",
        "repetition_penalty",
        "With a penalty of 1 the result is a detached copy, through which no gradient flows.",
        ("    seen = torch", "    if penalty == 1:\n        return logits.detach().clone()\n    seen = torch"),
    ),
    edit(
        "the_last_hundredth_cut_off",
        "sample",
        "The least probable tokens, which have one hundredth together, are never drawn: filters are for whoever asks for them.",
        ("    line = logits", "    logits = top_p_filter(logits, 0.99)\n    line = logits"),
    ),
    edit(
        "a_top_1000_nobody_asked_for",
        "sample",
        "Only the 1000 most probable tokens are ever drawn: filters are for whoever asks for them.",
        ("    line = logits", "    logits = top_k_filter(logits, 1000)\n    line = logits"),
    ),
    edit(
        "darts_in_thousandths",
        "sample",
        "Darts are whole thousandths, so that most tokens of a long vocabulary are never hit: take torch.rand's numbers as "
        "they are.",
        ("dtype=line.dtype, device=line.device)", "dtype=line.dtype, device=line.device).mul(1000).floor().div(1000)"),
    ),
    edit(
        "the_first_1000_tokens",
        "greedy_search",
        "Only the first 1000 tokens are compared: vocabularies are longer.",
        ("[0].argmax()", "[0][:1000].argmax()"),
    ),
    edit(
        "compared_in_half_precision",
        "greedy_search",
        "Log-probabilities are rounded to half precision before they are compared, so that close ones are mixed up.",
        ("[0].argmax()", "[0].half().argmax()"),
    ),
    edit(
        "the_very_same_eos",
        "greedy_search",
        "The token is compared with eos_id by `is`: that holds for small numbers only, by chance. Use ==.",
        ("if token == eos_id:", "if int(token) is eos_id:"),
    ),
    edit(
        "sixty_tokens_at_most",
        "beam_search",
        "The search ends at 60 tokens, whatever max_len is.",
        ("while beam and len(beam[0][0]) < max_len:", "while beam and len(beam[0][0]) < min(max_len, 60):"),
    ),
    edit(
        "float64_asked_of_step",
        "beam_search",
        "Log-probabilities in float32 fail: that is what most models give.",
        (".double()  # (beams, vocab)", '\n        if log_probs.dtype != torch.float64:\n            raise RuntimeError("step")'),
    ),
    edit(
        "one_text_for_each_score",
        "beam_search",
        "Results are kept under their scores, so that of several texts with the same score all but one are lost.",
        (
            "return [(ids, score) for score, ids in results.items()]",
            "return [(ids, score) for score, ids in dict(results.items()).items()]",
        ),
    ),
    edit(
        "whole_penalties_ignored",
        "beam_search",
        "A length penalty that is an int is taken for none: 2 means what 2.0 does.",
        ("- len(prefix)) ** length_penalty", "- len(prefix)) ** (length_penalty if isinstance(length_penalty, float) else 0)"),
    ),
    edit(
        "refusal_draws_from_part_of_the_target",
        "speculative_accept",
        "After a refusal the next token comes from p, where p is above q: draw from what p has more there, p - q.",
        ("missing = (p - q).clamp(min=0)", "missing = torch.where(p > q, p, 0.0)"),
    ),
    edit(
        "the_first_24_judged",
        "speculative_accept",
        "Tokens after the 24th stand without being judged: each one is accepted with probability min(1, p / q).",
        ("enumerate(draft_tokens.tolist())", "enumerate(draft_tokens[:24].tolist())"),
    ),
    edit(
        "rare_tokens_never_last",
        "speculative_accept",
        "When all stand, the least probable tokens of the last row, which have 5 % together, never come: draw from the row "
        "as it is.",
        ("sample(target_probs[n].log(), generator)", "sample(top_p_filter(target_probs[n].log(), 0.95), generator)"),
    ),
    edit(
        "sixty_four_tokens_of_the_text",
        "greedy_search",
        "step sees the last 64 tokens alone. It is given the whole text: what it can read is its own affair.",
        ("step(ids[None])", "step(ids[None, -64:])"),
    ),
    edit(
        "repetition_ends_the_text",
        "greedy_search",
        "A text that repeats one token is broken off. Only eos_id and max_len end it.",
        ("if token == eos_id:", "if token == eos_id or (len(ids) > 8 and len(set(ids[-8:].tolist())) == 1):"),
    ),
    edit(
        "numpy_of_recorded_numbers",
        "greedy_search",
        "What step gives may require gradients, and NumPy refuses that: detach it, or stay with PyTorch.",
        ("token = step(ids[None])[0].argmax()", "token = torch.tensor(step(ids[None]).numpy()[0].argmax())"),
    ),
    edit(
        "text_as_a_list",
        "greedy_search",
        "The text comes as a list: a tensor of ids, int64, is asked for.",
        ("            break\n    return ids", "            break\n    return ids.tolist()"),
    ),
    edit(
        "impossible_ends_are_results",
        "beam_search",
        "A text whose end has log-probability -inf is a result. It is no candidate at all.",
        ("if log_prob == -math.inf or (token", "if (log_prob == -math.inf and token != eos_id) or (token"),
    ),
    edit(
        "four_rows_at_most",
        "speculative_accept",
        "From the fifth token on the target's fourth row is asked. Token i is judged by row i.",
        ("target_probs[i].double()", "target_probs[min(i, 3)].double()"),
    ),
]


@mutant("TopKHeap", "Entries that are not better than the worst so far are kept out even while there is room.")
class ClosedTooEarly:
    def __init__(self, k):
        if k < 1:
            raise ValueError("k")
        self.k, self._entries, self._n = k, [], 0

    def __len__(self):
        return len(self._entries)

    def push(self, score, item):
        if score != score:
            raise ValueError("score")
        if self._entries and score <= self._entries[-1][0]:
            return
        self._n += 1
        self._entries.append((score, -self._n, item))
        self._entries.sort(key=lambda entry: entry[:2], reverse=True)
        del self._entries[self.k :]

    def items(self):
        return [(score, item) for score, _, item in self._entries]


@mutant("top_k_filter", "Probabilities are ranked. Where logits are far apart they are 0 all alike: rank the logits themselves.")
def ranked_by_probability(logits, k):
    if k < 1:
        raise ValueError("k")
    probs = logits.double().softmax(-1)
    kth = probs.topk(min(k, logits.shape[-1]), dim=-1).values[..., -1:]
    return logits.masked_fill(probs < kth, -math.inf)


@mutant("min_p_filter", "Probabilities are compared in half precision, where near ones are equal. Go through float32.")
def shares_in_half_precision(logits, min_p):
    if not 0 <= min_p <= 1:
        raise ValueError("min_p")
    if min_p == 0:
        return logits.clone()
    probs = logits.softmax(-1)
    return logits.masked_fill(probs < min_p * probs.amax(-1, keepdim=True), -math.inf)


@mutant("sample", "The generator is seeded anew for logits (vocab,), so every call draws the same token. Go on with its state.")
def the_same_token_for_one_row(logits, generator):
    if logits.dim() == 1:
        generator = torch.Generator().manual_seed(generator.initial_seed())
    line = logits.double().softmax(-1).cumsum(-1)
    darts = torch.rand(*line.shape[:-1], 1, generator=generator, dtype=line.dtype) * line[..., -1:]
    return torch.searchsorted(line, darts, right=True).squeeze(-1)


@mutant("sample", "For logits (vocab,) the dart comes from the global random state. All randomness comes from the generator.")
def global_dart_for_one_row(logits, generator):
    line = logits.double().softmax(-1).cumsum(-1)
    if logits.dim() == 1:
        return (line <= torch.rand((), dtype=line.dtype) * line[-1]).sum()
    darts = torch.rand(*line.shape[:-1], 1, generator=generator, dtype=line.dtype) * line[..., -1:]
    return torch.searchsorted(line, darts, right=True).squeeze(-1)


@mutant("sample", "Probabilities are kept by the address of the logits, whose numbers may be new by the next call. Keep nothing.")
def lines_kept_by_address(logits, generator):
    kept = sample.__dict__.setdefault("kept", {})
    if (logits.data_ptr(), logits.shape) not in kept:
        kept[logits.data_ptr(), logits.shape] = logits.double().softmax(-1).cumsum(-1)
    line = kept[logits.data_ptr(), logits.shape]
    darts = torch.rand(*line.shape[:-1], 1, generator=generator, dtype=line.dtype) * line[..., -1:]
    return torch.searchsorted(line, darts, right=True).squeeze(-1)


@mutant("beam_search", "The beam is not searched: the results are samples of the best tokens of each step alone.")
def independent_steps(step, prefix, eos_id, beam_size, max_len, length_penalty=0.0):
    if beam_size < 1 or len(prefix) > max_len:
        raise ValueError("arguments")
    texts, scores = prefix[None], torch.zeros(1, dtype=torch.float64)
    first = True
    while texts.shape[1] < max_len:
        best = step(texts).double().topk(1 if not first else min(beam_size, step(texts).shape[1]), dim=-1)
        if first:
            texts = texts.expand(best.indices.shape[1], -1)
            texts, scores = torch.cat([texts, best.indices.T], 1), best.values[0]
        else:
            texts, scores = torch.cat([texts, best.indices], 1), scores + best.values[:, 0]
        first = False
    n = max(1, max_len - len(prefix)) ** length_penalty
    return sorted(((ids, float(score) / n) for ids, score in zip(texts, scores)), key=lambda pair: -pair[1])


@mutant("TopKHeap", "Everything is kept and sorted at the end. A heap holds k entries: push is where the worst one leaves.")
class SortedAtTheEnd:
    def __init__(self, k):
        if k < 1:
            raise ValueError("k")
        self.k, self.pushed = k, []

    def __len__(self):
        return min(self.k, len(self.pushed))

    def push(self, score, item):
        if score != score:
            raise ValueError("score")
        self.pushed.append((score, item))

    def items(self):
        return sorted(self.pushed, key=lambda pair: -pair[0])[: self.k]


@mutant("top_p_filter", "All tokens as probable as the last one stay. Only as many of them do as it takes to reach p.")
def all_as_probable_as_the_last(logits, p):
    if not 0 <= p <= 1:
        raise ValueError("p")
    if p == 1:
        return logits.clone()
    probs = logits.double().softmax(-1)
    falling = probs.sort(dim=-1, descending=True).values
    n = (falling.cumsum(-1) - falling < p).sum(-1, keepdim=True).clamp(min=1)
    return logits.masked_fill(probs < falling.gather(-1, n - 1), -math.inf)


MUTANTS += [
    edit(
        "min_p_compared_in_half",
        "min_p_filter",
        "In half precision the logarithm of min_p is rounded to three digits: compare in float32 or better.",
        ("logits.amax(-1, keepdim=True).double()", "logits.amax(-1, keepdim=True)"),
    ),
    edit(
        "penalty_of_1_checks_nothing",
        "repetition_penalty",
        "With a penalty of 1 ids outside the vocabulary are not refused: check the arguments first.",
        (
            "    if ids.numel() and not 0 <=",
            "    if penalty == 1:\n        return logits.clone()\n    if ids.numel() and not 0 <=",
        ),
    ),
    edit(
        "beam_of_one_stops_at_the_first_end",
        "beam_search",
        "A beam of one goes on after a text that ends: with a length penalty a longer text may score higher.",
        (
            "        beam = candidates[:beam_size]\n",
            "        beam = candidates[: beam_size if beam_size > 1 or not len(results) else 0]\n",
        ),
    ),
    edit(
        "one_result_of_a_beam_that_ends",
        "beam_search",
        "Where all texts of the beam have ended, the best beam_size of all results are returned, not the first alone.",
        (
            "    return [(ids, score) for score, ids in results.items()]",
            "    return [(ids, score) for score, ids in results.items()][: None if beam else 1]",
        ),
    ),
    edit(
        "impossible_tokens_made_improbable_in_place",
        "greedy_search",
        "What step gave is changed: it may be the model's own table. clamp makes a new tensor, clamp_ does not.",
        ("step(ids[None])", "step(ids[None]).clamp_(min=-1e30)"),
    ),
]

MUTANTS += [
    edit(
        "threshold_rounded_to_half",
        "min_p_filter",
        "The largest logit plus log(min_p) is rounded to half precision, and a logit just below it stays: compare in float32.",
        (
            "    distance = logits.amax(-1, keepdim=True).double() - logits  # log of how many times as probable the best is\n"
            "    return logits.masked_fill(distance > -math.log(min_p), -math.inf)\n",
            "    threshold = logits.amax(-1, keepdim=True).double() + math.log(min_p)\n"
            "    return logits.masked_fill(logits < threshold.to(logits.dtype), -math.inf)\n",
        ),
    ),
]
