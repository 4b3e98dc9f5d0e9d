// Comments on the present text: read from the server, written through the outbox like every decision.

window.wanxing = Object.assign(window.wanxing || {}, {
  Comments: class {
    // `send(text)` puts a comment on its way and returns its client_id.
    constructor({ words, send }) {
      this.words = words;
      this.send = send;
      this.dialog = document.getElementById("comments-dialog");
      this.list = document.getElementById("comments");
      this.input = document.getElementById("comment-text");
      this.text = null;
      document.getElementById("comment-form").addEventListener("submit", (event) => {
        event.preventDefault();
        this.submit();
      });
      this.input.addEventListener("keydown", (event) => {
        if (event.code !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
        event.preventDefault();
        this.submit();
      });
      this.list.addEventListener("click", (event) => {
        const button = event.target.closest("[data-remove]");
        if (button) this.remove(button);
      });
    }

    async open(text) {
      if (this.text !== text) {
        this.text = text;
        this.list.replaceChildren();
      }
      this.dialog.showModal();
      this.input.focus();
      try {
        const response = await fetch(this.words.commentsUrl.replace("/0/", `/${text.id}/`), { redirect: "manual", credentials: "same-origin" });
        if (!response.ok) throw new Error("no answer");
        const { comments } = await response.json();
        if (this.text !== text) return;
        this.list.replaceChildren(...comments.map((comment) => this.row(comment)));
        text.comments = comments.length;
        if (!comments.length) this.list.append(this.note(this.words.noComments));
      } catch {
        this.list.append(this.note(this.words.commentsOffline));
      }
    }

    submit() {
      const typed = this.input.value.trim();
      if (!typed || !this.text) return;
      this.send(this.text, typed);
      this.input.value = "";
      this.dialog.close();
    }

    row({ id, text, by, at, mine }) {
      const item = document.createElement("li");
      const body = document.createElement("p");
      body.textContent = text;
      const about = document.createElement("p");
      about.className = "small muted";
      const time = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" }).format(new Date(at));
      about.textContent = `${by} · ${time}`;
      item.append(body, about);
      if (mine) {
        const button = document.createElement("button");
        button.type = "button";
        button.className = "quiet";
        button.dataset.remove = id;
        button.textContent = this.words.commentRemove;
        about.append(" ", button);
      }
      return item;
    }

    note(words) {
      const item = document.createElement("li");
      item.className = "muted";
      item.textContent = words;
      return item;
    }

    async remove(button) {
      const body = new URLSearchParams({ csrfmiddlewaretoken: window.wanxing.csrfToken() });
      try {
        const response = await fetch(this.words.commentRemoveUrl.replace("/0/", `/${button.dataset.remove}/`), { method: "POST", body, redirect: "manual", credentials: "same-origin" });
        if (!response.ok) throw new Error("no answer");
        button.closest("li").remove();
        this.text.comments = Math.max(0, this.text.comments - 1);
        if (!this.list.children.length) this.list.append(this.note(this.words.noComments));
      } catch {
        window.wanxing.toast(this.words.notSaved, 6);
      }
    }
  },
});
