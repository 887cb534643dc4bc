import type { Child } from "hono/jsx";
import { assetPath } from "./assets.ts";
import { absolute, number } from "./format.ts";
import type { Caller } from "./sessions.ts";

/** Counts beside the navigation; null: could not be read. */
export interface NavCounts {
  open: number | null;
  failed: number | null;
  /** Absent: not this caller's to see. */
  findings?: number | null;
}

export interface PageProps {
  title: string;
  /** Which entry of the navigation the page belongs to. */
  at?: "overview" | "operations" | "banks" | undefined;
  caller?: Caller | undefined;
  counts?: NavCounts | undefined;
  /** Address of the stream that keeps this page up to date. */
  live?: string | undefined;
  /** Where signing out returns to, and what failing does: nothing. */
  children?: Child;
}

/** The frame of every page. Answers the document as text. */
export function document(props: PageProps): string {
  return `<!doctype html>${(<Page {...props} />).toString()}`;
}

function Page({ title, at, caller, counts, live, children }: PageProps) {
  return (
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>{title} · Holdfast</title>
        <link rel="stylesheet" href={assetPath("console.css")} />
        <link rel="icon" href={assetPath("icon.svg")} type="image/svg+xml" />
        <script src={assetPath("console.js")} defer></script>
      </head>
      <body>
        <a class="skip" href="#main">
          Skip to content
        </a>
        <header class="side">
          <a class="brand" href="/">
            <img src={assetPath("icon.svg")} alt="" width="20" height="20" />
            Holdfast
          </a>
          {caller && <Nav at={at} counts={counts} />}
          {caller && <Who caller={caller} />}
        </header>
        <main id="main" tabindex={-1}>
          {children}
          <footer>
            <span id="as-of" role="status" {...(live ? { "data-live": live } : {})}>
              As of {absolute(new Date())}
            </span>
          </footer>
        </main>
      </body>
    </html>
  );
}

function Nav({ at, counts }: { at: PageProps["at"]; counts?: NavCounts | undefined }) {
  const entry = (here: PageProps["at"], href: string, words: string, beside?: Child) => (
    <li>
      <a href={href} {...(at === here ? { "aria-current": "page" } : {})}>
        {words}
      </a>
      {beside}
    </li>
  );
  return (
    <nav aria-label="Console">
      <ul id="nav">
        {entry(
          "overview",
          "/",
          "Overview",
          counts?.findings !== undefined && (
            <Count n={counts.findings} words="findings" href="/#findings" tone="bad" />
          ),
        )}
        {entry(
          "operations",
          "/operations",
          "Operations",
          counts && (
            <>
              <Count n={counts.open} words="open" href="/operations?state=open" />
              <Count n={counts.failed} words="failed" href="/operations?state=failed" tone="bad" />
            </>
          ),
        )}
        {entry("banks", "/banks", "Banks")}
      </ul>
    </nav>
  );
}

const COUNTED_TO = 10_000;

function Count(props: { n: number | null; words: string; href: string; tone?: string }) {
  const { n, words, href, tone } = props;
  if (n === 0) return null;
  const shown = n === null ? "?" : n >= COUNTED_TO ? `${number(COUNTED_TO)}+` : number(n);
  return (
    <a class={`count ${tone ?? ""}`} href={href} title={title(n, words)}>
      {shown} {words}
    </a>
  );
}

function title(n: number | null, words: string): string {
  if (n === null) return `the number of ${words} could not be read`;
  return words === "failed" ? "failed in the last 24 hours" : words;
}

function Who({ caller }: { caller: Caller }) {
  return (
    <div class="who">
      <span>
        {caller.actor} <span class="faint">{caller.role}</span>
      </span>
      {caller.tenants && <span class="faint">tenants: {caller.tenants.join(", ")}</span>}
      {caller.signedIn ? (
        <form method="post" action="/sign-out">
          <input type="hidden" name="token" value={caller.formToken} />
          <button class="plain">Sign out</button>
        </form>
      ) : (
        <span class="faint">sign-in is off</span>
      )}
    </div>
  );
}

/** A refusal or a fault as a page: the cause, and what to do next. */
export function Trouble({ title, message }: { title: string; message: string }) {
  return (
    <section class="trouble" role="alert">
      <h1>{title}</h1>
      <p>{message}</p>
      <p>
        <a href="/">Overview</a> · <a href="/operations">Operations</a>
      </p>
    </section>
  );
}
