import assert from "node:assert/strict";
import { test } from "node:test";
import { address, basePath } from "../src/lib/base.ts";

test("the pages stand where the server's <base> says", () => {
  assert.equal(basePath("http://127.0.0.1:4000/bsgateway/"), "/bsgateway");
  assert.equal(basePath("https://example.com/proxy/v2/bsgateway/?since=7d"), "/proxy/v2/bsgateway");
});

test("what is called stands below the pages, and nothing leaves their origin", () => {
  assert.equal(address("api/me", "https://example.com/proxy/bsgateway/"), "/proxy/bsgateway/api/me");
  assert.equal(address("/feedback", "http://127.0.0.1:4000/bsgateway/"), "/bsgateway/feedback");
  assert.equal(
    address("//elsewhere.example/", "http://127.0.0.1:4000/bsgateway/"),
    "/bsgateway/elsewhere.example/",
  );
});
