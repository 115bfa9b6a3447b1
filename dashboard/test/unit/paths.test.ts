import { expect, test } from "vitest";
import { fillPath, segment } from "@/api/paths";

test.each([
  ["TX-1", "TX-1"],
  ["2026/11", "2026%2F11"],
  ["a%2Fb", "a%252Fb"],
  ["what?#1", "what%3F%231"],
  ["count", "%63ount"],
  ["export", "%65xport"],
  ["buckets", "%62uckets"],
  ["Ü", "%C3%9C"],
])("the id %s is one segment of a path, and no name of the API's", (id, written) => {
  expect(segment(id)).toBe(written);
  expect(decodeURIComponent(written)).toBe(id);
  expect(new URL(`https://console/api/${written}/audit`).pathname).toBe(`/api/${written}/audit`);
});

test("a path is filled by name, whatever the values hold", () => {
  expect(fillPath("/transactions/{txn_id}/audit", { txn_id: "{txn_id}$&" })).toBe(
    "/transactions/%7Btxn_id%7D%24%26/audit",
  );
  expect(fillPath("/rules/{version}/activate", { version: 3 })).toBe("/rules/3/activate");
});
