import type { Context, Handler } from "hono";
import { secureHeaders } from "hono/secure-headers";
import type { Child } from "hono/jsx";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { asking } from "../../client/context.ts";
import { Unauthorized } from "../../contracts/errors.ts";
import type { Holdfast } from "../../client/index.ts";
import type { ConsoleDeps } from "../deps.ts";
import { guardOpenDoor } from "../doors.ts";
import type { Body } from "./body.ts";
import { assertFormToken, assertSameOrigin } from "./guards.ts";
import { Nav, navCounts, type Place } from "./nav.tsx";
import { document, Trouble, type PageProps } from "./page.tsx";
import { asRefusal, readingAs, type Reading } from "./reading.ts";
import { Sessions, type Caller } from "./sessions.ts";

/** A request of somebody who was let in. */
export interface Visit {
  c: Context;
  caller: Caller;
  read: Reading;
  /** The address of the page, also where its stream is asked for. */
  url: URL;
}

/** What stands around every page: headers, sign-in, the look, and what is said when it fails. */
export class Frame {
  readonly deps: ConsoleDeps;
  readonly sessions: Sessions;

  constructor(deps: ConsoleDeps) {
    this.deps = deps;
    this.sessions = new Sessions(deps);
  }

  /** Headers of every answer; nothing inline, nothing from elsewhere, in nobody's frame. */
  readonly headers = secureHeaders({
    contentSecurityPolicy: {
      defaultSrc: ["'none'"],
      scriptSrc: ["'self'"],
      styleSrc: ["'self'"],
      imgSrc: ["'self'"],
      connectSrc: ["'self'"],
      formAction: ["'self'"],
      baseUri: ["'none'"],
      frameAncestors: ["'none'"],
    },
    xFrameOptions: "DENY",
    // With less, browsers send forms without their origin.
    referrerPolicy: "same-origin",
    // Whether this host is to be reached by https only is for its proxy to say.
    strictTransportSecurity: false,
  });

  /** A page for whoever is signed in; others are sent to sign in and come back. */
  visited(handler: (visit: Visit) => Promise<Response>): Handler {
    return (c) =>
      this.answered(c, async (known) => {
        const caller = await this.#caller(c);
        if (!caller) return this.#turnedAway(c);
        known(caller);
        return handler({
          c,
          caller,
          read: readingAs(this.deps, { actor: caller.name, tenants: caller.tenants }),
          url: new URL(c.req.url),
        });
      });
  }

  /** A form sent by one of our own pages. */
  posted(handler: (visit: Visit, form: Record<string, string>) => Promise<Response>): Handler {
    return this.visited(async (visit) => {
      assertSameOrigin(visit.c);
      const form = await readForm(visit.c);
      assertFormToken(visit.caller, form["token"]);
      return handler(visit, form);
    });
  }

  /** Runs a handler; whatever it throws becomes a page that says the cause and what to do. */
  async answered(
    c: Context,
    handler: (known: (caller: Caller) => void) => Promise<Response>,
  ): Promise<Response> {
    c.header("cache-control", "no-store");
    let caller: Caller | undefined;
    try {
      await guardOpenDoor(this.deps.settings.auth)(c, async () => undefined);
      return await handler((known) => (caller = known));
    } catch (error) {
      return this.#trouble(c, error, caller);
    }
  }

  /** The SDK as this caller: what they do stands in the audit under their name. */
  actingAs({ name, tenants }: Caller): Holdfast {
    return this.deps.holdfast.as({ actor: name, tenants });
  }

  /** A whole page of sections. */
  async show(visit: Visit, load: Promise<Body>, live?: string): Promise<Response> {
    const [body, counts] = await Promise.all([load, navCounts(visit.read)]);
    return this.html(visit.c, body.status ?? 200, {
      title: body.title,
      at: body.at,
      caller: visit.caller,
      counts,
      live: body.ended ? undefined : live,
      children: Object.entries(body.sections).map(([id, content]) => (
        <section id={id}>{content}</section>
      )),
    });
  }

  /** A page that asks one thing. */
  async ask(visit: Visit, title: string, at: Place, content: Child, status = 200) {
    const counts = await navCounts(visit.read);
    return this.html(visit.c, status, {
      title,
      at,
      caller: visit.caller,
      counts,
      children: content,
    });
  }

  html(c: Context, status: number, props: PageProps): Response {
    return c.html(document(props), status as ContentfulStatusCode);
  }

  #caller(c: Context): Promise<Caller | undefined> {
    return asking(() => this.sessions.caller(c));
  }

  #turnedAway(c: Context): Response {
    if (c.req.method === "GET" && !c.req.path.endsWith("/live")) {
      const { pathname, search } = new URL(c.req.url);
      return c.redirect(`/sign-in?${new URLSearchParams({ next: pathname + search })}`, 302);
    }
    throw new Unauthorized("nobody is signed in here any more: sign in, then do it again");
  }

  #trouble(c: Context, error: unknown, caller: Caller | undefined): Response {
    const refusal = asRefusal(error);
    if (!refusal) this.deps.log.error({ err: error, path: c.req.path }, "a console page failed");
    const status = refusal?.status ?? 500;
    const title = TITLES[status] ?? "This did not work";
    const message =
      refusal?.message ??
      "Something is wrong in this server. Its log has the cause; nothing was changed.";
    return this.html(c, status, {
      title,
      caller,
      children: <Trouble title={title} message={message} signIn={status === 401} />,
    });
  }
}

const TITLES: Record<number, string> = {
  400: "This cannot be used",
  401: "Not signed in",
  403: "Not allowed",
  404: "Not found",
  409: "Not as things stand",
  503: "Not available",
};

export async function readForm(c: Context): Promise<Record<string, string>> {
  const form = await c.req.parseBody();
  return Object.fromEntries(
    Object.entries(form).filter((field): field is [string, string] => typeof field[1] === "string"),
  );
}

/** The sections of a page as its stream sends them. */
export async function renderSections(
  read: Reading,
  load: Promise<Body>,
): Promise<{ sections: Record<string, string>; ended: boolean }> {
  const [body, counts] = await Promise.all([load, navCounts(read)]);
  const sections: Record<string, Child> = {
    nav: <Nav at={body.at} counts={counts} />,
    ...body.sections,
  };
  const rendered = Object.entries(sections).map(([id, content]) => [
    id,
    (<>{content}</>).toString(),
  ]);
  return { sections: Object.fromEntries(rendered), ended: body.ended ?? false };
}
