/** Small documents; `order` is what their extraction obeys, such as `[[sleep 100]]`. */
export function letters(n: number, order = "", prefix = "letter") {
  return Array.from({ length: n }, (_, index) => ({
    documentId: `${prefix}-${index + 1}`,
    content:
      `Letter ${index + 1} ${order}\n\nAda Lovelace wrote to Charles Babbage on 5 July 1843. ` +
      `She sent note ${index + 1} to London.`,
  }));
}
