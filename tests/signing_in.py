"""A person's browser without the browser: signs in through the real page and keeps its cookies."""

import httpx


def sign_in(address: str, username: str, password: str) -> httpx.Client:
    client = httpx.Client(base_url=address, follow_redirects=True, timeout=30)
    client.get("/login/").raise_for_status()
    form = {"username": username, "password": password, "csrfmiddlewaretoken": client.cookies["csrftoken"]}
    page = client.post("/login/", data=form)
    assert page.status_code == 200 and "/login/" not in str(page.url), f"{username} could not sign in: {page.url}"
    return client
