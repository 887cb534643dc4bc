/** Longest name, in code units, and most words of one. */
const MAX_NAME = 100;
const MAX_WORDS = 6;

const words = (list: string) => new Set(list.split(/\s+/));

/** Words that are in no name, but as the joints that `connector` knows. */
const glue = words(
  "a about above after again all also although always an and another any are as at be because been before below both " +
    "but by can cannot could did do does don each either every everything for from had has have he her here him his how " +
    "however i if in instead into is it its just like ll many may maybe me might more most must my neither never no none " +
    "nor not nothing now of off on once only or other others otherwise our out over per shall she should since so some " +
    "something still such than that the their them then there these they this those though through thus to too under " +
    "unless unlike until up us via was we well were what when where whether which while who whose why will with within " +
    "without would yes yet you your",
);
/** Words that begin no name, though one may go on with them: their capital says nothing. */
const weak = words(
  "according add added assuming available based breaking bug bugs build call change changed changelog check choose click " +
    "clone code compare configure consider contributing contributors copy copyright create created currently default " +
    "define depending deprecated description documentation done enable ensure example examples false feature features " +
    "finally find first fix fixed fixes follow following found full get getting given go good hello help import important " +
    "improved include includes information initial input install installation internal introduction issue issues keep " +
    "last later let license list look made main make makes name need new next note notes ok old one open option optional " +
    "options output part pass please prefer provide provides provided quick read readme recommended refer related release " +
    "remove removed require required requirements requires returns return run same second see set several show similarly " +
    "simple simply specify start support supported supports sure take tested testing tests thank thanks third three tip " +
    "todo together true try two type types update updated upgrade usage use used useful user users uses using value " +
    "values version versions warning work works write null undefined " +
    "january february march april june july august september october november december jan feb mar apr jun jul aug sep " +
    "sept oct nov dec monday tuesday wednesday thursday friday saturday sunday",
);
const plainCode = words(
  "true false null undefined string number boolean object array function any void never unknown symbol this " +
    "int integer float bool str date error promise async await const let var import export return type",
);

/** What stands in a sentence, tried in this order at each place: the first that fits takes it. */
const token = new RegExp(
  [
    "`(?<code>[^`]*)`",
    "!\\[[^[\\]]*\\]",
    "\\]\\([^()]*\\)",
    "<\\/?[a-zA-Z][^<>]*>",
    "https?:\\/\\/(?<host>[\\w.-]+)[^\\s<>()\\[\\]\"'`]*",
    "(?<![\\w.+-])(?<mail>[\\w.+-]+@[\\w-]+(?:\\.[\\w-]+)+)",
    "(?<![\\w/@.])(?<pkg>@[a-z0-9][\\w.-]*\\/[a-z0-9][\\w-]*(?:\\.[\\w-]+)*)",
    "(?<![\\p{L}\\p{N}]|[\\p{L}\\p{N}]_)(?<word>\\p{Lu}[\\p{L}\\p{M}\\p{N}]*(?:['’.@_][\\p{L}\\p{N}]+|-[\\p{Lu}\\p{N}][\\p{L}\\p{N}]*)*(?:\\+\\+|#)?)",
  ].join("|"),
  "gu",
);
const identifier = /^[@\w$][\w$.@/:#-]*$/;
const connector = /^(?:[ \t]|\r?\n[ \t]*)(?:(?:of|of the|de|de la|van|von|der|del|du|&)[ \t\n])?$/;
const acronym = /^[A-Z][A-Z0-9]{1,9}s?$/;
const innerCapital = /^.+[\p{Lu}\d]|^\p{Lu}[\p{L}]*\.[a-z]{2}|[+#]$/u;
const singularVerb =
  /^\s(?:is|was|has|does|can|lets|allows|adds|comes|gives|makes|needs|offers|provides|requires|runs|says|supports|uses|works)\s/;

export interface NamesFound {
  /** Names the sentence itself gives reason for, in order of appearance. */
  sure: string[];
  /** A capitalised first word, which is a name only if it is one elsewhere too. */
  first?: string;
}

/**
 * Names of what a sentence is about, by rule: `code` identifiers, hosts of visible URLs, mail
 * addresses, @scope/packages, acronyms, capitalised words and runs of them. Common words, sentences
 * in capitals and the first word of a sentence give no name of their own.
 */
export function namesIn(sentence: string): NamesFound {
  const sure: string[] = [];
  const singles: string[] = [];
  let first: string | undefined;
  let run: Run | undefined;

  const endRun = () => {
    if (!run) return;
    const name = run.text.replace(/['’]s$/, "");
    const [head = "", tail = ""] = name.split(" ");
    if (run.count === 2 && run.initial && innerCapital.test(tail) && !innerCapital.test(head)) {
      // "Pure JavaScript is ...": the first word may be any word, the second is a name of its own.
      singles.push(tail);
    } else if (run.count >= 2) {
      sure.push(name);
    } else if (acronym.test(name)) {
      singles.push(name.replace(/(?<=[A-Z0-9])s$/, ""));
    } else if (name.length >= 3 && !run.vague) {
      const speaks = !run.initial || innerCapital.test(name) || isSubject(sentence, run);
      if (speaks) singles.push(name);
      else first ??= name;
    }
    run = undefined;
  };

  for (const match of sentence.matchAll(token)) {
    const { code, host, mail, pkg, word } = match.groups ?? {};
    if (word === undefined) {
      if (code !== undefined) addCode(sure, code);
      else if (host) addHost(sure, host);
      else if (mail) sure.push(mail.toLowerCase());
      else if (pkg) sure.push(pkg);
      continue;
    }
    const folded = word.toLowerCase().replace(/['’].*$/, "");
    const end = match.index + word.length;
    const gap = run ? sentence.slice(run.end, match.index) : "";
    if (run && run.count < MAX_WORDS && !glue.has(folded) && connector.test(gap)) {
      run.text += gap.replace(/\s+/g, " ") + word;
      run.count += 1;
      run.end = end;
      continue;
    }
    endRun();
    if (glue.has(folded)) continue;
    const initial = isInitial(sentence, match.index);
    const vague = weak.has(folded);
    // "New York", "Visual Studio": where a capital is no habit, even a vague word may open a name.
    if (!vague || !initial || folded === "new") run = { text: word, count: 1, end, initial, vague };
  }
  endRun();

  const title = sure.length + singles.length > 0 && isTitle(sentence);
  if (!title) sure.push(...singles);
  return {
    sure: sure.filter((name) => name.length <= MAX_NAME && !(title && isShouted(name))),
    ...(first ? { first } : {}),
  };
}

function isShouted(name: string): boolean {
  return name.includes(" ") && name === name.toUpperCase();
}

/** Capitalised words that stand together. */
interface Run {
  text: string;
  count: number;
  /** Where it ends in the sentence. */
  end: number;
  /** Its first word would have a capital anyway. */
  initial: boolean;
  /** Its first word is no name by itself. */
  vague: boolean;
}

/** True for a lone word that does something: "Holdfast is ...". A gerund that does is an activity. */
function isSubject(sentence: string, { text, end }: Run): boolean {
  return !text.endsWith("ing") && singularVerb.test(sentence.slice(end, end + 12));
}

function addCode(names: string[], code: string): void {
  const name = code.trim().replace(/\([^()]*\)$/, "");
  if (name.length < 2 || name.length > MAX_NAME) return;
  if (!identifier.test(name) || !/[a-z]/i.test(name) || plainCode.has(name.toLowerCase())) return;
  names.push(name);
}

function addHost(names: string[], host: string): void {
  const name = host
    .toLowerCase()
    .replace(/^www\./, "")
    .replace(/\.+$/, "");
  if (name.includes(".")) names.push(name);
}

/** True at the start, and after a mark that lets a new sentence begin: a colon, a quote, a bracket. */
function isInitial(sentence: string, at: number): boolean {
  let before = at - 1;
  while (before >= 0 && " \t\r\n*_".includes(sentence.charAt(before))) before--;
  return before < 0 || `:"'“‘([|>-–—.!?#`.includes(sentence.charAt(before));
}

/** True for title case and capitals, where a capital says nothing: few words begin without one. */
function isTitle(sentence: string): boolean {
  const all = sentence.match(/(?<![^\s"'“‘(*_])[\p{L}]/gu) ?? [];
  const lower = all.filter((letter) => letter !== letter.toUpperCase());
  return lower.length * 5 < all.length;
}
