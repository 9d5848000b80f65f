"""The npm package, the programs of docs/server.md as they stand there, and requests nobody thought of."""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from server_room import Running

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
ADDRESS = "http://127.0.0.1:8000/v1"
SCRIPT = """
import OpenAI, { toFile } from "openai";
import http from "node:http";
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
const small = await client.videos.downloadContent(first.id, { variant: "thumbnail" });
say(small.headers.get("content-type") === "image/webp", "thumbnail");
const picture = "data:image/png;base64," + process.argv[3];
const from = await client.videos.create({ prompt: "a dog", input_reference: { image_url: picture } });
say((await ended(from)).status === "completed", "input_reference");
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
let running = await client.videos.create({ prompt: "a long walk" });
while (running.status === "queued") running = await client.videos.retrieve(running.id);
const gone = await client.videos.delete(running.id);
say(gone.deleted === true && gone.object === "video.deleted", "delete while running");
const status = await client.videos.retrieve(running.id).then(() => 200, (error) => error.status);
say(status === 404, "a deleted video is not there");
const failed = await ended(await client.videos.create({ prompt: "fail" }));
say(failed.status === "failed" && failed.error.code === "generation_failed", "a failed job is an answer");

const heard = new Promise((resolve) => {
  const receiver = http.createServer((request, response) => {
    const pieces = [];
    request.on("data", (piece) => pieces.push(piece));
    request.on("end", () => { response.end(); resolve([Buffer.concat(pieces).toString(), request.headers]); });
  });
  receiver.listen(0, "127.0.0.1", async () => {
    const url = `http://127.0.0.1:${receiver.address().port}/in`;
    const hook = await client.post("/longtake/webhooks", { body: { url } });
    globalThis.told = [receiver, hook, await client.videos.create({ prompt: "told" })];
  });
});
const [body, headers] = await heard;
const [receiver, hook, told] = globalThis.told;
const event = await client.webhooks.unwrap(body, headers, hook.secret);
say(event.type === "video.completed" && event.data.id === told.id, "webhook");
const forged = client.webhooks.unwrap(body + " ", headers, hook.secret);
say(await forged.then(() => false, () => true), "a forged webhook is refused");
await client.delete(`/longtake/webhooks/${hook.id}`);
receiver.close();
receiver.closeAllConnections();
console.log("conforms");
"""


def png() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("data"), "--workers", "1", "--allow-private")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the npm package in it: the newest that this node runs."""
    if not shutil.which("npm") or not shutil.which("node"):
        pytest.skip("node and npm are not installed: apt install nodejs npm")
    folder = tmp_path_factory.mktemp("node")
    given = os.environ.get("LONGTAKE_TEST_NODE_MODULES")
    if given:
        (folder / "node_modules").symlink_to(given)
        return folder
    (folder / "package.json").write_text("{}")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    package = "openai@7" if int(version.lstrip("v").split(".")[0]) >= 22 else "openai@6"
    got = subprocess.run(["npm", "install", package], cwd=folder, capture_output=True, timeout=180)
    if got.returncode:
        pytest.skip(f"the npm package {package} cannot be installed here")
    return folder


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout.strip()


def test_the_npm_package(server: Running, modules: Path) -> None:
    (modules / "drive.mjs").write_text(SCRIPT)
    picture = base64.b64encode(png()).decode()
    assert run(["node", "drive.mjs", f"{server.url}/v1", picture], modules) == "conforms"


def programs(language: str) -> list[str]:
    """The blocks of this language in the page and the README that are whole programs of the client."""
    text = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("docs/server.md", "README.md"))
    blocks: list[str] = re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)
    return [block for block in blocks if ADDRESS in block and "import " in block]


@pytest.mark.parametrize("language", ["python", "js"])
def test_the_documented_programs_run_as_they_stand(
    server: Running, language: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue("modules") if language == "js" else tmp_path
    found = programs(language)
    assert found
    for text in found:
        program = folder / f"program.{'mjs' if language == 'js' else 'py'}"
        program.write_text(text.replace(ADDRESS, f"{server.url}/v1"), encoding="utf-8")
        run(["node" if language == "js" else sys.executable, str(program)], folder)
        assert (folder / "puppy.mp4").read_bytes()[4:8] == b"ftyp"
        (folder / "puppy.mp4").unlink()


def test_generated_requests_never_break_the_server(server: Running) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, Phase, given, settings

    examples = int(os.environ.get("LONGTAKE_TEST_EXAMPLES", "8"))

    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    bad: list[str] = []
    sent = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path.endswith("/events"):
            continue  # a stream: it ends when the job does
        is_dear = operation.path.endswith("/verify")  # reads marks in a process of its own: seconds each

        @settings(
            max_examples=min(examples, 4) if is_dear else examples, deadline=None, database=None,
            suppress_health_check=list(HealthCheck), phases=[Phase.generate],
        )  # fmt: skip
        @given(case=operation.as_strategy())
        def press(case: object) -> None:
            nonlocal sent
            sent += 1
            answer = case.call(timeout=120)  # type: ignore[attr-defined]
            if answer.status_code >= 500:
                bad.append(f"{operation.method} {operation.path} {answer.status_code}")  # noqa: B023

        press()
    print(f"{sent} requests, {len(bad)} answered with 5xx")
    assert sent > 50 and not bad, bad
