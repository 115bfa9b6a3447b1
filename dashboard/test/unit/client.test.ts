// @vitest-environment node
import { readFile } from "node:fs/promises";
import openapiTS, { astToString, COMMENT_HEADER } from "openapi-typescript";
import { expect, test } from "vitest";

test("the client's types are what the committed OpenAPI document generates (npm run client)", async () => {
  const document = new URL("../../../api/openapi.json", import.meta.url);
  const committed = await readFile(new URL("../../src/api/schema.d.ts", import.meta.url), "utf8");
  const generated = `${COMMENT_HEADER}${astToString(await openapiTS(document))}`;
  expect(committed.trim() === generated.trim()).toBe(true);
});
