"""The npm package, and requests nobody thought of."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_room import Running

pytestmark = pytest.mark.slow
SCRIPT = """
import OpenAI, { toFile } from "openai";
import fs from "node:fs";
const client = new OpenAI({ baseURL: process.argv[2], apiKey: "any", maxRetries: 0 });
const say = (condition, words) => { if (!condition) { console.error("not so: " + words); process.exit(1); } };
async function ended(video) {
  while (video.status === "queued" || video.status === "in_progress") {
    await new Promise((resolve) => setTimeout(resolve, 200));
    video = await client.videos.retrieve(video.id);
  }
  return video;
}
const first = await ended(await client.videos.create({ prompt: "a dog", seconds: "4", size: "1280x720" }));
say(first.status === "completed" && first.seconds === "4", "create");
const bytes = Buffer.from(await (await client.videos.downloadContent(first.id)).arrayBuffer());
say(bytes.subarray(4, 8).toString() === "ftyp", "content");
const sheet = await client.videos.downloadContent(first.id, { variant: "spritesheet" });
say(sheet.headers.get("content-type") === "image/jpeg", "spritesheet");
const remix = await client.videos.remix(first.id, { prompt: "at night" });
say(remix.remixed_from_video_id === first.id, "remix");
if (client.videos.edit) {
  const edit = await client.videos.edit({ prompt: "blue", video: { id: first.id } });
  say(edit.id && edit.seconds === "4", "edit");
  const longer = await client.videos.extend({ prompt: "on", seconds: "8", video: { id: first.id } });
  say(longer.seconds === "12", "extend");
  const clip = await toFile(bytes, "clip.mp4");
  const character = await client.videos.createCharacter({ name: "Mossy", video: clip });
  say((await client.videos.getCharacter(character.id)).name === "Mossy", "character");
}
let seen = 0;
for await (const video of client.videos.list({ limit: 1 })) seen += 1;
say(seen >= 2, "list");
const gone = await client.videos.delete(remix.id);
say(gone.deleted === true, "delete");
try { await client.videos.retrieve(remix.id); say(false, "gone"); } catch (error) { say(error.status === 404, "404"); }
console.log("conforms");
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("data"), "--workers", "1")
    yield running
    running.stop()


def test_the_npm_package(server: Running, tmp_path: Path) -> None:
    if not shutil.which("npm") or not shutil.which("node"):
        pytest.skip("node and npm are not installed")
    given = os.environ.get("LONGTAKE_TEST_NODE_MODULES")
    if given:
        (tmp_path / "node_modules").symlink_to(given)
    else:
        (tmp_path / "package.json").write_text("{}")
        got = subprocess.run(["npm", "install", "openai@6"], cwd=tmp_path, capture_output=True, timeout=180)
        if got.returncode:
            pytest.skip("the npm package openai cannot be installed here")
    (tmp_path / "drive.mjs").write_text(SCRIPT)
    done = subprocess.run(
        ["node", "drive.mjs", f"{server.url}/v1"], cwd=tmp_path, capture_output=True, text=True, timeout=180
    )
    assert done.stdout.strip() == "conforms", done.stderr


def test_generated_requests_never_break_the_server(server: Running) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, Phase, settings

    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    bad: list[str] = []
    sent = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path.endswith("/events"):
            continue

        @settings(
            max_examples=int(os.environ.get("LONGTAKE_TEST_EXAMPLES", "8")), deadline=None, database=None,
            suppress_health_check=list(HealthCheck), phases=[Phase.generate],
        )  # fmt: skip
        @__import__("hypothesis").given(case=operation.as_strategy())
        def press(case: object) -> None:
            nonlocal sent
            sent += 1
            answer = case.call()  # type: ignore[attr-defined]
            if answer.status_code >= 500:
                bad.append(f"{operation.method} {operation.path} {answer.status_code}")  # noqa: B023

        press()
    assert sent > 50 and not bad, bad
