/**
 * Finds how many tokens a block of a trace has: a prompt of n tokens has ceil(n / block) ids. Mooncake's blocks have 512,
 * those of Bailian and of vLLM's own traces 16.
 */
export class BlockScale {
  private low = 1;
  private high = Number.POSITIVE_INFINITY;
  private rows = 0;

  see(inputTokens: number, ids: number): void {
    if (ids === 0 || inputTokens === 0) return;
    this.rows++;
    this.low = Math.max(this.low, Math.ceil(inputTokens / ids));
    if (ids > 1) this.high = Math.min(this.high, Math.ceil(inputTokens / (ids - 1)) - 1);
  }

  /** Whether any row has ids. */
  get used(): boolean {
    return this.rows > 0;
  }

  /** The size that all rows agree with: 512 or 16 where those do, else the only power of two; undefined where there is none. */
  tokens(): number | undefined {
    const agrees = (size: number) => size >= this.low && size <= this.high;
    const powers = Array.from({ length: 14 }, (_, i) => 2 ** i).filter(agrees);
    return [512, 16].find(agrees) ?? (powers.length === 1 ? powers[0] : undefined);
  }
}
