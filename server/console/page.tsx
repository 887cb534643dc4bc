import type { Child } from "hono/jsx";
import { assetPath } from "./assets.ts";
import { absolute } from "./format.ts";
import { Nav, type NavCounts, type Place } from "./nav.tsx";
import type { Caller } from "./sessions.ts";

export interface PageProps {
  title: string;
  /** Which entry of the navigation the page belongs to. */
  at?: Place | undefined;
  caller?: Caller | undefined;
  counts?: NavCounts | undefined;
  /** Address of the stream that keeps this page up to date. */
  live?: string | undefined;
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
          {caller && (
            <nav aria-label="Console">
              <ul id="nav">
                <Nav at={at} counts={counts} />
              </ul>
            </nav>
          )}
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

function Who({ caller }: { caller: Caller }) {
  return (
    <div class="who">
      <span>
        {caller.name} <span class="faint">{caller.role}</span>
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
export function Trouble(props: { title: string; message: string; signIn: boolean }) {
  const { title, message, signIn } = props;
  return (
    <section class="trouble" role="alert">
      <h1>{title}</h1>
      <p>{message}</p>
      <p>
        {signIn && (
          <>
            <a href="/sign-in">Sign in</a> ·{" "}
          </>
        )}
        <a href="/">Overview</a> · <a href="/operations">Operations</a>
      </p>
    </section>
  );
}
