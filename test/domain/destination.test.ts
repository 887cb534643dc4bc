import { expect, test } from "vitest";
import { destinationOf } from "../../domain/destination.ts";

const named = { allowed: true, named: true };
const anyone = { allowed: true, named: false };

test.each([
  // Without a list: any public https host.
  ["https://example.com/hook", undefined, anyone],
  ["https://1.1.1.1/", undefined, anyone],
  ["https://[2606:4700::1111]/", undefined, anyone],
  // A host named in full may be private and spoken to in plain.
  ["http://127.0.0.1:8080/", ["127.0.0.1"], named],
  ["http://127.0.0.1:8080/", ["127.0.0.1:8080"], named],
  ["http://[::1]:8080/", ["::1"], named],
  ["http://[::1]:8080/", ["[::1]:8080"], named],
  ["https://LOCALHOST./", ["localhost:443"], named],
  // A pattern allows names below it, and never more than a public host may.
  ["https://a.b.example.com/", ["*.example.com"], anyone],
  ["https://a.example.com:8443/", ["*.example.com:8443"], anyone],
])("%s with %j is allowed", (url, allow, expected) => {
  expect(destinationOf(url, allow)).toEqual(expected);
});

test.each([
  ["http://example.com/", undefined, "plain http to example.com is refused"],
  ["https://localhost/", undefined, "localhost is not a public address"],
  ["https://10.1.2.3/", undefined, "10.1.2.3 is not a public address"],
  ["https://2130706433/", undefined, "127.0.0.1 is not a public address"],
  ["https://[::ffff:10.0.0.1]/", undefined, "is not a public address"],
  ["https://example.com/", [], "host example.com is not an allowed destination"],
  ["https://example.com/", ["*.example.com"], "not an allowed destination"],
  ["https://badexample.com/", ["*.example.com"], "not an allowed destination"],
  ["https://example.com.evil.net/", ["example.com"], "not an allowed destination"],
  ["https://example.com:8443/", ["example.com:443"], "not an allowed destination"],
  ["http://a.example.com/", ["*.example.com"], "plain http"],
  ["https://a.localhost/", ["*.localhost"], "not a public address"],
])("%s with %j is refused, and how to permit it is said", (url, allow, reason) => {
  const answer = destinationOf(url, allow);
  expect(answer).toMatchObject({ allowed: false, reason: expect.stringContaining(reason) });
  expect(answer).toMatchObject({ reason: expect.stringContaining("in webhooks.allow") });
});
