//! The text that the fake model thinks and says, cut into pieces as long as a tokenizer's.

/// Mostly English, some of it Chinese, with numbers, code and line breaks.
const TEXT: &str = "Okay, so the user wants to know how a small bakery can plan its deliveries for the whole \
week without buying a second van. Let me think about what they told me first. They have one driver, about \
forty customers, and most of the orders have to be there before seven in the morning. Hmm, that means the \
route matters more than the load. If I take the distances from the table, the farthest customer is 18.5 km \
away, and the nearest is just around the corner. Wait, I should check whether the order of the stops is \
fixed. It is not, so this is a travelling salesman problem with time windows.\n\nFirst, let me sort the \
customers by their district: north has 12, the old town has 15, and the harbour has 13. A greedy route \
through the old town takes about 55 minutes at four in the morning, because there is hardly any traffic. \
Then the harbour, which closes its gate until 5:30. So the gate decides the order: old town first, then the \
harbour, and north at the end. Let me compute it: 55 + 20 + 48 + 15 + 40 = 178 minutes, so if the driver \
leaves at 3:50 the last customer gets the bread at 6:48. That is twelve minutes of slack, which is not much. \
Alternatively, they could split the route in two and let somebody walk to the three shops next door.\n\n\
我们再检查一遍：老城区有十五位客户，港口有十三位，北区有十二位，一共四十位。如果司机三点五十分出发，最后一位客户会在六点四十八分收到面包，\
还剩十二分钟的余量。所以答案是：先去老城区，再去港口，最后去北区。\n\nI could also write a short script for them:\n\n\
```python\ndef route(stops, start):\n    left, here, path = set(stops), start, []\n    while left:\n        here = \
min(left, key=lambda stop: distance(here, stop))\n        left.remove(here)\n        path.append(here)\n    \
return path\n```\n\nIt is only a nearest neighbour search, but for forty stops it is good enough, and a swap \
of two edges can improve it afterwards. I think the answer should begin with the order of the districts, then \
give the times, and mention the risk: if the gate opens late, the slack is gone. **Summary:** start at 3:50, \
deliver the old town, be at the harbour gate by 5:30, finish in the north before seven. Let me know whether \
the customers in the north would accept their bread at half past six, then the plan has more room. ";

/// The text's pieces: a word with the space before it, long words in two, one or two Chinese characters.
pub(crate) fn pieces() -> Vec<&'static str> {
    let mut pieces = Vec::new();
    let mut rest = TEXT;
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(piece_length(rest));
        pieces.push(piece);
        rest = later;
    }
    pieces
}

/// The text's words, for whoever needs words that really occur.
pub(crate) fn words() -> Vec<&'static str> {
    let mut words: Vec<&str> =
        TEXT.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| word.len() > 3).collect();
    words.sort_unstable();
    words.dedup();
    words
}

fn piece_length(text: &str) -> usize {
    let mut end = 0;
    for (count, (at, c)) in text.char_indices().enumerate() {
        let begins_a_word = c == ' ' || c == '\n';
        let full = count >= 6 || (count >= 2 && !c.is_ascii());
        if count > 0 && (begins_a_word || full) {
            return at;
        }
        end = at + c.len_utf8();
    }
    end
}
