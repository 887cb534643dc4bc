/** A stretch of prose in a Markdown or plain text. Offsets are code units into the text. */
export interface ProseBlock {
  kind: "paragraph" | "list item" | "table row";
  start: number;
  end: number;
}

interface Fence {
  mark: string;
  length: number;
}

const fenceLine = /^(?:[-*+]\s+|\d{1,9}[.)]\s+)?(`{3,}|~{3,})(.*)$/;
const listMarker = /^(?:[-*+]|\d{1,9}[.)])\s+(?:\[[ xX]\]\s+)?/;
const thematicBreak = /^([-*_])(?:\s*\1){2,}$/;
const setextUnderline = /^(?:=+|-+)$/;
const tableDelimiter = /^[\s:|-]+$/;
const linkDefinition = /^\[(\^?)[^\]]+\]:\s*/;
const speaker = /^\p{Lu}[\p{L}\p{N} .'_-]{0,40}:\s/u;
const opaqueTag = /^<(pre|script|style|svg|code|textarea)\b/i;

/**
 * The prose of a text: paragraphs, list items and table rows, in order and apart. Headings, code,
 * comments, bare tags, rules, table heads and link definitions are left out. `continued` says that
 * the text begins inside a longer one, so that a code block may be open where it starts.
 */
export function proseBlocks(text: string, continued = false): ProseBlock[] {
  const blocks: ProseBlock[] = [];
  let block: (ProseBlock & { lines: number }) | undefined;
  let fence: Fence | undefined = continued ? fenceOpenAtStart(text) : undefined;
  let skipUntil = "";
  let inList = false;
  let inTable = false;

  const flush = () => {
    if (block && block.end > block.start) {
      blocks.push({ kind: block.kind, start: block.start, end: block.end });
    }
    block = undefined;
  };
  const open = (kind: ProseBlock["kind"], start: number, end: number) => {
    flush();
    block = { kind, start, end, lines: 1 };
  };

  for (const { start: lineStart, end } of linesOf(text, continued ? 0 : frontMatterEnd(text))) {
    let start = skipBlanks(text, lineStart, end);
    const indent = indentOf(text, lineStart, start);
    let line = text.slice(start, end);

    if (fence) {
      if (closes(fence, line)) fence = undefined;
      continue;
    }
    if (skipUntil) {
      if (line.toLowerCase().includes(skipUntil)) skipUntil = "";
      continue;
    }
    if (line.startsWith(">")) {
      const quote = /^(?:>\s?)+/.exec(line)?.[0].length ?? 1;
      start = skipBlanks(text, start + quote, end);
      line = text.slice(start, end);
      if (line.startsWith("[!")) line = "";
    }
    if (line === "") {
      flush();
      inTable = false;
      continue;
    }
    const fresh: boolean = block === undefined;
    if (indent >= 4 && fresh && !inList) continue;

    const opening = fenceLine.exec(line);
    if (opening?.[1] && !opening[2]?.includes("`")) {
      flush();
      fence = { mark: opening[1].charAt(0), length: opening[1].length };
      continue;
    }
    if (line.startsWith("<") && /^<[a-z/!?]/i.test(line) && !/^<(?:https?:|mailto:)/i.test(line)) {
      if (line.startsWith("<!--")) skipUntil = line.includes("-->") ? "" : "-->";
      const tag = opaqueTag.exec(line)?.[1]?.toLowerCase();
      if (tag && !line.toLowerCase().includes(`</${tag}`)) skipUntil = `</${tag}`;
      flush();
      const inner = line.startsWith("<!--") || tag ? undefined : withinTags(line);
      if (inner) open("paragraph", start + inner.start, start + inner.end);
      continue;
    }
    if (/^#{1,6}(?:\s|$)/.test(line)) {
      flush();
      inList = false;
      continue;
    }
    if (setextUnderline.test(line) || thematicBreak.test(line)) {
      // One or two lines above an underline are a heading; more are a paragraph above a rule.
      if (block && setextUnderline.test(line) && block.kind === "paragraph" && block.lines <= 2) {
        block = undefined;
      }
      flush();
      continue;
    }
    if (line.includes("|")) {
      if (line.includes("-") && tableDelimiter.test(line)) {
        if (block) block = undefined;
        else if (blocks.at(-1)?.kind === "table row") blocks.pop();
        inTable = true;
        continue;
      }
      if (inTable || line.startsWith("|")) {
        flush();
        const row = withoutOuterPipes(line);
        if (row) blocks.push({ kind: "table row", start: start + row.start, end: start + row.end });
        continue;
      }
    }
    const definition = linkDefinition.exec(line);
    if (definition) {
      flush();
      if (definition[1]) open("paragraph", start + definition[0].length, end);
      continue;
    }
    const marker = listMarker.exec(line);
    if (marker) {
      inList = true;
      open("list item", start + marker[0].length, end);
      continue;
    }
    if (block && !speaker.test(line)) {
      block.end = end;
      block.lines += 1;
      continue;
    }
    if (fresh && indent === 0) inList = false;
    open(inList ? "list item" : "paragraph", start, end);
  }
  flush();
  return blocks;
}

/** Lines without their ends and trailing blanks. */
function* linesOf(text: string, from: number): Generator<{ start: number; end: number }> {
  for (let start = from; start < text.length;) {
    const feed = text.indexOf("\n", start);
    const stop = feed < 0 ? text.length : feed;
    let end = stop;
    while (end > start && isBlankUnit(text.charCodeAt(end - 1))) end--;
    yield { start, end };
    start = stop + 1;
  }
}

function isBlankUnit(unit: number): boolean {
  return unit === 0x20 || unit === 0x09 || unit === 0x0d || unit === 0xa0 || unit === 0xfeff;
}

function skipBlanks(text: string, from: number, end: number): number {
  let at = from;
  while (at < end && isBlankUnit(text.charCodeAt(at))) at++;
  return at;
}

function indentOf(text: string, from: number, to: number): number {
  let indent = 0;
  for (let at = from; at < to; at++) indent += text.charCodeAt(at) === 0x09 ? 4 : 1;
  return indent;
}

function closes(fence: Fence, line: string): boolean {
  if (!line.startsWith(fence.mark.repeat(fence.length))) return false;
  for (const char of line) if (char !== fence.mark) return false;
  return true;
}

/** The fence a continued text begins in: its first fence line closes one, judged by the others. */
function fenceOpenAtStart(text: string): Fence | undefined {
  const fences = text.match(/^[ \t]{0,3}(?:`{3,}|~{3,}).*$/gm) ?? [];
  const first = fences[0]?.trim();
  const last = fences.at(-1)?.trim();
  if (!first || !last || !isBare(first)) return undefined;
  const odd = fences.length % 2 === 1;
  // With an info string the last one opens a block that the text does not close.
  if (isBare(last) !== odd) return undefined;
  return { mark: first.charAt(0), length: first.length };
}

function isBare(fence: string): boolean {
  return /^(?:`+|~+)$/.test(fence);
}

function frontMatterEnd(text: string): number {
  const opening = /^\uFEFF?---[ \t]*\r?\n/.exec(text);
  if (!opening) return 0;
  const closing = /^---[ \t]*\r?$/m.exec(text.slice(opening[0].length));
  // Without a `key:` it is a rule with text between it and the next one.
  const head = text.slice(opening[0].length);
  if (!closing || !/^[\w-]+:/.test(head)) return 0;
  return opening[0].length + closing.index + closing[0].length;
}

/** The text between leading and trailing tags, when there is any. */
function withinTags(line: string): { start: number; end: number } | undefined {
  const start = /^(?:<[^<>]*>\s*)+/.exec(line)?.[0].length ?? 0;
  let end = line.length;
  while (end > start && line.charAt(end - 1) === ">") {
    const tag = line.lastIndexOf("<", end - 1);
    if (tag < start) break;
    end = tag;
    while (end > start && isBlankUnit(line.charCodeAt(end - 1))) end--;
  }
  // An unfinished tag, as in a tag with one attribute per line, is no text.
  if (start === 0 || end <= start) return undefined;
  return { start, end };
}

function withoutOuterPipes(line: string): { start: number; end: number } | undefined {
  let start = 0;
  let end = line.length;
  const isEdge = (at: number) => line.charAt(at) === "|" || isBlankUnit(line.charCodeAt(at));
  while (start < end && isEdge(start)) start++;
  while (end > start && isEdge(end - 1)) end--;
  return end > start ? { start, end } : undefined;
}
