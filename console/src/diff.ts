// What differs between two texts, line by line.
export interface Line {
  kind: "same" | "old" | "new";
  text: string;
}

const LARGEST = 4_000_000;

/** The lines of both, in order: a longest common subsequence is the same, unless the texts are too long to look for one. */
export function diff(before: string, after: string): Line[] {
  const old = before.split("\n"), now = after.split("\n");
  let first = 0;
  while (first < old.length && first < now.length && old[first] === now[first]) first++;
  let oldEnd = old.length, newEnd = now.length;
  while (oldEnd > first && newEnd > first && old[oldEnd - 1] === now[newEnd - 1]) oldEnd--, newEnd--;
  const lines = (texts: string[], kind: Line["kind"]) => texts.map((text) => ({ kind, text }));
  return [
    ...lines(old.slice(0, first), "same"),
    ...middle(old.slice(first, oldEnd), now.slice(first, newEnd)),
    ...lines(old.slice(oldEnd), "same"),
  ];
}

function middle(old: string[], now: string[]): Line[] {
  const wide = now.length + 1;
  const found: Line[] = [];
  let i = 0, j = 0;
  if (old.length * now.length <= LARGEST) {
    // How long the longest common subsequence is of what begins at each pair of lines.
    const length = new Uint32Array((old.length + 1) * wide);
    for (let a = old.length - 1; a >= 0; a--) {
      for (let b = now.length - 1; b >= 0; b--) {
        length[a * wide + b] = old[a] === now[b] ? length[(a + 1) * wide + b + 1]! + 1 : Math.max(length[(a + 1) * wide + b]!, length[a * wide + b + 1]!);
      }
    }
    while (i < old.length && j < now.length) {
      if (old[i] === now[j]) found.push({ kind: "same", text: old[i++]! }), j++;
      else if (length[(i + 1) * wide + j]! >= length[i * wide + j + 1]!) found.push({ kind: "old", text: old[i++]! });
      else found.push({ kind: "new", text: now[j++]! });
    }
  }
  while (i < old.length) found.push({ kind: "old", text: old[i++]! });
  while (j < now.length) found.push({ kind: "new", text: now[j++]! });
  return found;
}

/** Changed lines with so many of the others around them; null stands for those that are left out. */
export function hunks(lines: Line[], around = 3): (Line | null)[] {
  const near = lines.map((_, place) => lines.slice(Math.max(0, place - around), place + around + 1).some((line) => line.kind !== "same"));
  return lines.flatMap((line, place) => (near[place] ? [line] : place === 0 || near[place - 1] ? [null] : []));
}
