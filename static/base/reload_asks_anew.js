/** Reloading a page that answers a form opens it anew, and does not send the form a second time. */
history.replaceState(history.state, "", location.href);
