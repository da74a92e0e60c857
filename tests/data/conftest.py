"""The generated stand-ins, written once a session."""

import pytest


@pytest.fixture(scope="session")
def faces_folder(tmp_path_factory):
    from mcvae.data.faces import write_faces

    folder = tmp_path_factory.mktemp("faces")
    write_faces(folder)
    return folder


@pytest.fixture(scope="session")
def molecules_folder(tmp_path_factory):
    from mcvae.data.molecules import write_molecules

    folder = tmp_path_factory.mktemp("molecules")
    write_molecules(folder)
    return folder
