import type { Child } from "hono/jsx";
import { absolute, number, relative, shortId } from "./format.ts";
import type { Part } from "./reading.ts";

/** The small things every page is made of. */

/** A moment as distance from now, the moment itself on hover. */
export function Ago({ at }: { at: Date | string | null | undefined }) {
  if (!at) return <span class="faint">never</span>;
  const moment = typeof at === "string" ? new Date(at) : at;
  return (
    <time datetime={moment.toISOString()} title={absolute(moment)}>
      {relative(moment, new Date())}
    </time>
  );
}

/** The tail of an id, the whole of it on hover and by the copy button. */
export function Id({ id, href }: { id: string; href?: string }) {
  const short = <code title={id}>…{shortId(id)}</code>;
  return (
    <span class="id">
      {href ? <a href={href}>{short}</a> : short}
      <Copy text={id} />
    </span>
  );
}

// Hidden until the script, without which it could do nothing, shows it.
export function Copy({ text }: { text: string }) {
  return (
    <button type="button" class="copy" data-copy={text} aria-label={`copy ${text}`} hidden>
      copy
    </button>
  );
}

/** A bar with its numbers beside it. */
export function Progress({ done, total }: { done: number; total: number }) {
  const share = total === 0 ? 100 : Math.floor((100 * done) / total);
  return (
    <span class="progress">
      <progress max={Math.max(total, 1)} value={total === 0 ? 1 : done}>
        {share} %
      </progress>
      <span class="num">
        {number(done)} of {number(total)}
      </span>
    </span>
  );
}

/** Shows a part, or in its place why it is missing. */
export function Shown<T>({ part, children }: { part: Part<T>; children: (value: T) => Child }) {
  if ("value" in part) return <>{children(part.value)}</>;
  return <p class="missing">{part.missing}</p>;
}

/** What stands where rows would: what would fill the place, and the command that does. */
export function Empty({ children, command }: { children: Child; command?: string }) {
  return (
    <div class="empty">
      <p>{children}</p>
      {command && (
        <p>
          <code class="command">{command}</code>
          <Copy text={command} />
        </p>
      )}
    </div>
  );
}

/**
 * A table that scrolls inside its own frame when the screen is narrower. `wide` takes the whole
 * width, `rows` becomes a list of blocks on a small screen.
 */
export function Table(props: { head: Child; children: Child; label: string; look?: string }) {
  const { head, children, label, look = "" } = props;
  return (
    <div class={`scroll ${look}`} tabindex={0} role="region" aria-label={label}>
      <table>
        <thead>
          <tr>{head}</tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}

/** A link to the page after this one, by cursor. */
export function NextPage({ href, words = "Next page" }: { href: string; words?: string }) {
  return (
    <p class="next">
      <a href={href} rel="next">
        {words} →
      </a>
    </p>
  );
}

/** This address with some parameters changed; undefined takes one away. */
export function withParams(
  url: URL,
  changes: Record<string, string | undefined>,
  anchor = "",
): string {
  const params = new URLSearchParams(url.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value === undefined) params.delete(name);
    else params.set(name, value);
  }
  const search = params.size > 0 ? `?${params}` : "";
  return `${url.pathname}${search}${anchor && `#${anchor}`}`;
}
