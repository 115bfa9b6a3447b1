/** Bytes as a hex dump: offset, sixteen bytes, and the characters among them. */

export interface HexLine {
  offset: string;
  bytes: string;
  text: string;
}

export function hexLines(hex: string): HexLine[] {
  const lines: HexLine[] = [];
  for (let at = 0; at < hex.length; at += 32) {
    const pairs = hex.slice(at, at + 32).match(/../g) ?? [];
    lines.push({
      offset: (at / 2).toString(16).padStart(4, "0"),
      bytes: pairs.map((pair, index) => (index === 8 ? ` ${pair}` : pair)).join(" "),
      text: pairs
        .map((pair) => Number.parseInt(pair, 16))
        .map((code) => (code >= 0x20 && code < 0x7f ? String.fromCharCode(code) : "·"))
        .join(""),
    });
  }
  return lines;
}
