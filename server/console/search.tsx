import { HoldfastError, InvalidInput } from "../../contracts/errors.ts";
import {
  LOOKUPS,
  type SearchHit,
  type SearchPage,
  type SearchQuery,
  type SearchTypeView,
} from "../../contracts/search.ts";
import type { Body } from "./body.ts";
import type { Visit } from "./frame.tsx";
import { counted } from "./format.ts";
import { Empty, NextPage, Shown, Table, withParams } from "./pieces.tsx";
import { part, type Part } from "./reading.ts";
import { hitAddress } from "./search-address.ts";
import { Marked } from "./search-marked.tsx";

const PAGE_SIZE = 50;

/** Objects by what is written in them; what is asked is the address. */
export async function searchBody({ read, url }: Visit): Promise<Body> {
  const { search } = read.holdfast;
  const asked = askedIn(url);
  const types = search.types();
  let wrong: HoldfastError | undefined;
  const page =
    asked.text === ""
      ? undefined
      : await part(() =>
          search.query(queryOf(asked)).catch((error: unknown) => {
            if (error instanceof InvalidInput) wrong = error;
            if (error instanceof HoldfastError && error.code === NOT_INSTALLED) wrong = error;
            throw error;
          }),
        );
  return {
    title: asked.text === "" ? "Search" : `${asked.text} · Search`,
    at: "search",
    status: wrong instanceof InvalidInput ? 400 : 200,
    sections: {
      ask: (
        <>
          <div class="title">
            <h1>Search</h1>
            <a href="/search/status">How search stands</a>
          </div>
          <Ask asked={asked} types={types} />
          {wrong instanceof InvalidInput && (
            <p class="alarm" role="alert">
              This search cannot be done: {wrong.message}.
            </p>
          )}
          {wrong?.code === NOT_INSTALLED && (
            <Empty command="holdfast search install">
              Nothing is searchable yet. This makes it so:
            </Empty>
          )}
        </>
      ),
      found: wrong ? null : <Found page={page} url={url} />,
    },
  };
}

const NOT_INSTALLED = "search-not-installed";

interface Asked {
  text: string;
  lookup: string;
  types: string[];
  schema: string;
  after: string;
}

// A form sends every field, also those left empty.
function askedIn({ searchParams }: URL): Asked {
  const one = (name: string) => searchParams.get(name) ?? "";
  return {
    text: one("text").trim(),
    lookup: one("lookup"),
    types: searchParams.getAll("type").filter((type) => type !== ""),
    schema: one("schema"),
    after: one("after"),
  };
}

function queryOf({ text, lookup, types, schema, after }: Asked): SearchQuery {
  return {
    text,
    limit: PAGE_SIZE,
    ...(lookup && { lookup: lookup as SearchQuery["lookup"] }),
    ...(types.length > 0 && { types }),
    ...(schema && { schema }),
    ...(after && { after }),
  };
}

const LOOKUP_WORDS: Record<(typeof LOOKUPS)[number], string> = {
  partial: "anywhere in it",
  exact: "the whole value",
  "starts-with": "at its beginning",
  "ends-with": "at its end",
  regex: "as an expression",
  words: "by words, in prose",
};

function Ask({ asked, types }: { asked: Asked; types: SearchTypeView[] }) {
  const schemas = [...new Set([...types.flatMap((type) => type.schemas), asked.schema])].filter(
    (schema) => schema !== "",
  );
  return (
    <form class="filter" method="get" action="/search" role="search">
      <label>
        <span>text</span>
        <input
          type="search"
          name="text"
          value={asked.text}
          size={32}
          maxlength={1_000}
          required
          autofocus={asked.text === ""}
          placeholder="name, serial, address, words"
        />
      </label>
      <label>
        <span>look for it</span>
        <select name="lookup">
          {LOOKUPS.map((lookup) => (
            <option value={lookup} selected={lookup === (asked.lookup || "partial")}>
              {LOOKUP_WORDS[lookup]}
            </option>
          ))}
        </select>
      </label>
      <Types asked={asked} types={types} />
      {(schemas.length > 1 || asked.schema !== "") && (
        <label>
          <span>schema</span>
          <select name="schema">
            <option value="">the default</option>
            {schemas.map((schema) => (
              <option value={schema} selected={schema === asked.schema}>
                {schema}
              </option>
            ))}
          </select>
        </label>
      )}
      <button>Search</button>
      {asked.text !== "" && <a href="/search">Clear</a>}
    </form>
  );
}

/** One type or all; an address that names several keeps them. */
function Types({ asked, types }: { asked: Asked; types: SearchTypeView[] }) {
  const categories = new Map<string, SearchTypeView[]>();
  for (const type of types) {
    const category = type.category ?? "";
    categories.set(category, [...(categories.get(category) ?? []), type]);
  }
  const options = (of: SearchTypeView[]) =>
    of.map((type) => (
      <option value={type.name} selected={asked.types.includes(type.name)}>
        {type.label}
      </option>
    ));
  const several = asked.types.length > 1;
  return (
    <label>
      <span>{several ? "types" : "type"}</span>
      <select name="type" multiple={several} size={several ? 4 : undefined}>
        <option value="" selected={asked.types.length === 0}>
          any
        </option>
        {[...categories].map(([category, of]) =>
          category === "" ? options(of) : <optgroup label={category}>{options(of)}</optgroup>,
        )}
      </select>
    </label>
  );
}

function Found({ page, url }: { page: Part<SearchPage> | undefined; url: URL }) {
  if (!page) {
    return (
      <Empty command="holdfast search query <text>">
        Objects are found by what is written in them: any part of a name, an address in any
        spelling, words of a text. From a terminal:
      </Empty>
    );
  }
  return (
    <Shown part={page}>
      {({ items, total, totalIsExact, leftOut, next }) => (
        <>
          {leftOut.map(({ type, reason }) => (
            <p class="missing">
              {type} is left out: {reason}.
            </p>
          ))}
          {items.length === 0 ? (
            <Nothing paged={url.searchParams.has("after")} />
          ) : (
            <>
              <p class="faint">
                {totalIsExact
                  ? `${counted(total, "object")} found`
                  : `More than ${counted(total, "object")} found`}
                {url.searchParams.has("after") && ", these come after the page before"}
              </p>
              <Hits items={items} />
            </>
          )}
          {next && <NextPage href={withParams(url, { after: next })} words="More results" />}
        </>
      )}
    </Shown>
  );
}

function Nothing({ paged }: { paged: boolean }) {
  if (paged) return <Empty>Nothing comes after this page.</Empty>;
  return (
    <Empty>
      Nothing is found that you may see. What was written just now may still wait:{" "}
      <a href="/search/status">how search stands</a>.
    </Empty>
  );
}

function Hits({ items }: { items: SearchHit[] }) {
  return (
    <Table
      label="results"
      look="wide hits"
      head={
        <>
          <th>Object</th>
          <th>Type</th>
          <th>Found in</th>
          <th>About it</th>
        </>
      }
    >
      {items.map((hit) => (
        <tr>
          <td class="words">
            <Title hit={hit} />
          </td>
          <td class="faint">{hit.typeLabel}</td>
          <td class="words">
            <span class="faint">{hit.fieldLabel}:</span> <Marked {...hit} />
          </td>
          <td class="words faint">
            {hit.display
              .filter(({ value }) => value !== null && value !== "")
              .map(({ label, value }) => `${label}: ${value}`)
              .join(" · ")}
          </td>
        </tr>
      ))}
    </Table>
  );
}

function Title({ hit }: { hit: SearchHit }) {
  const address = hitAddress(hit);
  return address === null ? <>{hit.title}</> : <a href={address}>{hit.title}</a>;
}
