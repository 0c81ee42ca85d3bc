/** A block of memory has room for this many values at least and at most: few lists are short, and no list is copied as it grows. */
const [leastValues, mostValues] = [16, 4096];

/** A list of numbers. Each takes eight bytes; of those of the last block that are not used there are at most as many as are. */
export class Column {
  readonly #blocks: Float64Array[] = [];
  #last = new Float64Array(0);
  #used = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(value: number): void {
    if (this.#used === this.#last.length) {
      this.#last = new Float64Array(Math.min(mostValues, Math.max(leastValues, this.#length)));
      this.#blocks.push(this.#last);
      this.#used = 0;
    }
    this.#last[this.#used++] = value;
    this.#length++;
  }

  /** All values in the order in which they were added: a copy. */
  get values(): Float64Array {
    const values = new Float64Array(this.#length);
    let from = 0;
    for (const block of this.#blocks) {
      values.set(block === this.#last ? block.subarray(0, this.#used) : block, from);
      from += block.length;
    }
    return values;
  }
}
