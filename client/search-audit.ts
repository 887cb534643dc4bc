import { RefusedByPolicy } from "../contracts/errors.ts";
import { SearchAudit, type Difference, type SearchAuditPage } from "../contracts/reindex.ts";
import { auditKeys, auditObjects, forgetGaps, type AuditedPage } from "../db/index-audit.ts";
import { canBeRead } from "../db/index-build.ts";
import { appendIndexMarks } from "../db/index-marks.ts";
import { findSourcePage } from "../db/index-pages.ts";
import { readSource, type Source } from "../db/index-source.ts";
import type { Tx } from "../db/pool.ts";
import { classify } from "../domain/faults.ts";
import type { SearchRegistry } from "../domain/search.ts";
import { asking, assertEveryTenant, type Context } from "./context.ts";
import { parseInput } from "./input.ts";
import { selectIndexes, type SelectedIndex } from "./search-selection.ts";

/** How to find out whether search tells the truth. */
export interface SearchAuditClient {
  /**
   * Compares installed indexes with what they are made from, a bounded page at a time, and answers each
   * page: first the objects in order of their primary key, then the keys of the index that have no
   * object. Needs Postgres only. With `repair`, what differs is marked for the drain.
   * @throws InvalidInput, NotFound, Forbidden, Unavailable
   */
  audit(input?: SearchAudit): AsyncIterable<SearchAuditPage>;
}

export function searchAuditClient(context: Context, registry: SearchRegistry): SearchAuditClient {
  return { audit: (input = {}) => auditAll(context, registry, input) };
}

async function* auditAll(
  context: Context,
  registry: SearchRegistry,
  input: SearchAudit,
): AsyncGenerator<SearchAuditPage> {
  assertEveryTenant(context);
  const { repair, ...selection } = parseInput(SearchAudit, input);
  if (registry.hasBackend) {
    throw new RefusedByPolicy(
      'objects are indexed outside Postgres, where they cannot be compared: "holdfast search reindex" hands all of them over again',
    );
  }
  const selected = await asking(() => selectIndexes(context.db, registry, selection));
  for (const one of selected) {
    const audit = new IndexAudit(context, registry.settings.language, one, repair);
    while (!audit.ended) yield await asking(() => audit.next());
  }
}

const PAGE = 2_000;
/** A statement that takes longer than this is made smaller. */
const STATEMENT_TIMEOUT_MS = 20_000;
const SHOWN = 100;

type Finding = SearchAuditPage["findings"][number];

/** One index on its way through an audit. */
class IndexAudit {
  readonly #context: Context;
  readonly #language: string;
  readonly #of: SelectedIndex;
  readonly #repair: boolean;
  readonly #began = new Date();
  #limit = PAGE;
  #pass: "objects" | "keys" = "objects";
  #after: string | undefined;
  ended = false;

  constructor(context: Context, language: string, of: SelectedIndex, repair: boolean) {
    this.#context = context;
    this.#language = language;
    this.#of = of;
    this.#repair = repair;
  }

  async next(): Promise<SearchAuditPage> {
    const { index } = this.#of;
    if (index.driftedAt !== null) {
      return this.#giveUp(`it has drifted, and waits for its table: ${index.driftReason}`);
    }
    for (;;) {
      const limit = this.#limit;
      try {
        const { told, page } = await this.#transaction((tx, source) =>
          this.#compare(tx, source, limit),
        );
        await this.#moveOn(page, limit);
        return { ...told, last: this.ended };
      } catch (error) {
        const page = await this.#afterFault(error);
        if (page) return page;
      }
    }
  }

  async #compare(tx: Tx, source: Source, limit: number) {
    const at = { id: this.#of.index.id, source };
    const page =
      this.#pass === "objects"
        ? await auditObjects(tx, at, { after: this.#after, limit, language: this.#language })
        : await auditKeys(tx, at, { after: this.#after ?? "", limit });
    return { page, told: await this.#tell(tx, page.rows, page.found) };
  }

  async #moveOn({ rows, last }: AuditedPage, limit: number): Promise<void> {
    this.#limit = Math.min(PAGE, limit * 2);
    if (rows === limit) {
      this.#after = last!;
    } else if (this.#pass === "objects") {
      this.#pass = "keys";
      this.#after = undefined;
    } else {
      const { schema, type } = this.#of.index;
      if (this.#repair) await forgetGaps(this.#context.db, schema, type, this.#began);
      this.ended = true;
    }
  }

  async #tell(tx: Tx, compared: number, found: readonly Finding[]): Promise<SearchAuditPage> {
    const { schema, type } = this.#of.index;
    const marked = this.#repair ? found.length : 0;
    if (marked > 0) {
      await appendIndexMarks(
        tx,
        schema,
        type,
        found.map(({ key }) => key),
      );
    }
    const count = (kind: Difference) => found.filter((one) => one.kind === kind).length;
    return {
      schema,
      type,
      compared,
      missing: count("missing"),
      stale: count("stale"),
      orphan: count("orphan"),
      unreadable: count("unreadable"),
      findings: found.slice(0, SHOWN),
      marked,
      last: false,
    };
  }

  /** A smaller page, unless the object is alone in it, or it is the table itself. */
  async #afterFault(error: unknown): Promise<SearchAuditPage | undefined> {
    const { code, message = "" } = error as { code?: unknown; message?: string };
    const tooSlow = code === TOO_SLOW;
    if (!tooSlow && classify(error) !== "domain") throw error;
    if (!tooSlow) {
      const readable = await this.#isReadable();
      if (!readable) return this.#giveUp(message);
    }
    if (this.#limit > 1) {
      this.#limit = Math.max(1, Math.floor(this.#limit / 4));
      return undefined;
    }
    if (this.#pass === "keys" || tooSlow) return this.#giveUp(message);
    return this.#transaction((tx, source) => this.#unreadable(tx, source, message));
  }

  async #isReadable(): Promise<boolean> {
    const { db } = this.#context;
    try {
      const source = await readSource(db, this.#of.index.schema, this.#of.type);
      return await canBeRead(db, source, this.#language);
    } catch (error) {
      if (classify(error) === "domain") return false;
      throw error;
    }
  }

  async #unreadable(tx: Tx, source: Source, reason: string): Promise<SearchAuditPage> {
    const { last } = await findSourcePage(tx, source, this.#after, 1);
    if (last === null) return this.#tell(tx, 0, []);
    this.#after = last;
    return this.#tell(tx, 1, [{ key: last, kind: "unreadable", reason }]);
  }

  async #giveUp(notDone: string): Promise<SearchAuditPage> {
    this.ended = true;
    const { db } = this.#context;
    return { ...(await this.#tell(db, 0, [])), last: true, notDone };
  }

  #transaction<T>(work: (tx: Tx, source: Source) => Promise<T>): Promise<T> {
    const { index, type } = this.#of;
    return this.#context.db.transaction(
      async (tx) => work(tx, await readSource(tx, index.schema, type)),
      { readOnly: !this.#repair, statementTimeoutMs: STATEMENT_TIMEOUT_MS, withoutJit: true },
    );
  }
}

/** Statement timeout. */
const TOO_SLOW = "57014";
