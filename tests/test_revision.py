"""The commit that runs and ledgers carry."""

import subprocess

from mcvae.revision import current_commit


def test_the_commit_is_that_of_the_tree_and_a_change_shows(tmp_path):
    def git(*arguments):
        options = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "init.defaultBranch=main"]
        return subprocess.run(
            ["git", *options, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    assert current_commit(tmp_path) is None and current_commit(tmp_path / "absent") is None
    git("init")
    (tmp_path / "file").write_text("a")
    git("add", "file")
    git("commit", "-m", "one", "--no-verify")
    head = git("rev-parse", "HEAD").strip()
    assert current_commit(tmp_path) == head[:12]
    (tmp_path / "file").write_text("b")
    assert current_commit(tmp_path) == head[:12] + "+"
