import { Hono, type Context } from "hono";
import { Unauthorized } from "../../contracts/errors.ts";
import { formLimit } from "./act-routes.tsx";
import { readForm, type Frame } from "./frame.tsx";
import { assertSameOrigin } from "./guards.ts";

/** Signing in with an API key, and out. */
export function signInRoutes(frame: Frame): Hono {
  const app = new Hono();
  const asked = (c: Context, next: string, wrong?: string) =>
    frame.html(c, wrong ? 401 : 200, {
      title: "Sign in",
      children: <SignIn next={next} wrong={wrong} />,
    });
  app.get("/sign-in", frame.headers, (c) =>
    frame.answered(c, async () => {
      if (frame.deps.settings.auth === "off") return c.redirect("/", 302);
      return asked(c, safeNext(c.req.query("next")));
    }),
  );
  app.post("/sign-in", frame.headers, formLimit, (c) =>
    frame.answered(c, async () => {
      assertSameOrigin(c);
      const form = await readForm(c);
      const next = safeNext(form["next"]);
      try {
        await frame.sessions.begin(c, form["key"]?.trim() ?? "");
      } catch (error) {
        if (error instanceof Unauthorized) return asked(c, next, "This key is unknown or revoked.");
        throw error;
      }
      return c.redirect(next, 303);
    }),
  );
  app.post(
    "/sign-out",
    frame.headers,
    formLimit,
    frame.posted(async ({ c }) => {
      await frame.sessions.end(c);
      return c.redirect("/sign-in", 303);
    }),
  );
  return app;
}

/** The page that asks for an API key. */
function SignIn({ next, wrong }: { next: string; wrong?: string | undefined }) {
  return (
    <section class="ask">
      <h1>Sign in</h1>
      <p>
        With an API key. An admin makes one:{" "}
        <code class="command">holdfast key create --name "Your name" --role operator</code>
      </p>
      <form method="post" action="/sign-in">
        <input type="hidden" name="next" value={next} />
        <label>
          <span>API key</span>
          <input
            name="key"
            type="password"
            autocomplete="current-password"
            size={50}
            required
            autofocus
          />
        </label>
        {wrong && (
          <p class="alarm" role="alert">
            {wrong}
          </p>
        )}
        <p class="acts">
          <button>Sign in</button>
        </p>
      </form>
    </section>
  );
}

/** A place on this server to go on to; anything else becomes the overview. */
function safeNext(given: unknown): string {
  if (typeof given !== "string" || !given.startsWith("/")) return "/";
  const base = "http://here.invalid";
  if (!URL.canParse(given, base)) return "/";
  const url = new URL(given, base);
  if (url.origin !== base) return "/";
  // Two slashes at the start would name another host.
  return `/${url.pathname.replace(/^\/+/, "")}${url.search}`;
}
