import { Validator } from "@seriousme/openapi-schema-validator";
import { expect, test } from "vitest";
import { serving } from "./serving.ts";

test("the document is valid OpenAPI 3.1, and every route in it says what it does and how it refuses", async () => {
  await using server = await serving();
  const answer = await server.ask("GET", "/openapi.json");
  const document = (await answer.json()) as {
    openapi: string;
    paths: Record<string, Record<string, Record<string, never>>>;
  };
  const { valid, errors } = await new Validator().validate(structuredClone(document));
  expect(errors).toBeUndefined();
  expect(valid).toBe(true);
  expect(document.openapi).toBe("3.1.0");

  const ids = new Set<string>();
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const [method, route] of Object.entries(methods)) {
      const { summary, operationId, responses } = route as unknown as {
        summary: string;
        operationId: string;
        responses: Record<string, { content?: Record<string, unknown> }>;
      };
      expect(summary, `${method} ${path}`).toMatch(/.{10}/);
      expect(ids.has(operationId), operationId).toBe(false);
      ids.add(operationId);
      expect(responses["default"]?.content).toHaveProperty(["application/problem+json"]);
    }
  }
});
