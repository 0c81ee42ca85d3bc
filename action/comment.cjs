// Comments on a pull request, or rewrites the comment that it made before: one a baseline.
"use strict";

const { readFileSync } = require("node:fs");

const { GITHUB_API_URL, GITHUB_REPOSITORY, GITHUB_TOKEN, PULL_REQUEST, MARK, COMMENT_FILE } = process.env;
const mark = `<!-- tokenclock ${MARK} -->`;
/** GitHub refuses longer ones. */
const longest = 65_000;

async function call(method, path, body) {
  const reply = await fetch(`${GITHUB_API_URL}${path}`, {
    method,
    headers: {
      accept: "application/vnd.github+json",
      authorization: `Bearer ${GITHUB_TOKEN}`,
      "content-type": "application/json",
    },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (!reply.ok) throw new Error(`${method} ${path}: HTTP ${reply.status} ${(await reply.text()).slice(0, 300)}`);
  return reply.json();
}

/** The comment with our mark, on whichever page it is. */
async function ownComment() {
  for (let page = 1; ; page++) {
    const path = `/repos/${GITHUB_REPOSITORY}/issues/${PULL_REQUEST}/comments?per_page=100&page=${page}`;
    const comments = await call("GET", path);
    const own = comments.find(({ body }) => body?.startsWith(mark));
    if (own || comments.length < 100) return own;
  }
}

async function main() {
  const text = readFileSync(COMMENT_FILE, "utf8");
  const cut = text.length > longest ? `${text.slice(0, longest)}\n\n(cut; the uploaded results have all of it)` : text;
  const body = `${mark}\n${cut}`;
  const own = await ownComment();
  if (own) await call("PATCH", `/repos/${GITHUB_REPOSITORY}/issues/comments/${own.id}`, { body });
  else await call("POST", `/repos/${GITHUB_REPOSITORY}/issues/${PULL_REQUEST}/comments`, { body });
}

main().catch((error) => {
  console.error(`tokenclock: the pull request has no comment: ${error.message}`);
  process.exitCode = 1;
});
