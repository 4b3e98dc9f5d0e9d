// How far it is: mine, the team's, per label; the pace, and the time left to all texts or to the person's goal.

window.wanxing = Object.assign(window.wanxing || {}, {
  Progress: class {
    constructor({ start, words }) {
      this.words = words;
      this.goal = start.goal;
      this.counts = { done: start.done, mine: start.mine, total: start.total, perLabel: { ...start.perLabel } };
      this.times = []; // of my last decisions
      this.team = [[performance.now(), start.done]]; // what the server said, newest last
      this.cells = new Map([...document.querySelectorAll("[data-count]")].map((cell) => [Number(cell.dataset.count), cell]));
      this.bar = document.getElementById("done-bar");
      this.shown = new Map();
      this.paint();
    }

    // The server's counts, once nothing waits here that it does not know of.
    take({ total, done, mine, perLabel }, settled) {
      this.counts.total = total;
      if (settled) {
        Object.assign(this.counts, { done, mine, perLabel: { ...perLabel } });
        this.team.push([performance.now(), done]);
        this.team = this.team.filter(([at]) => performance.now() - at < 600000).slice(-60);
      }
      this.paint();
    }

    // `labels` come to a text or leave it; `decided` is how the number of decided texts changes with it.
    count(labels, by, decided) {
      for (const id of labels) this.counts.perLabel[id] = Math.max(0, (this.counts.perLabel[id] || 0) + by);
      this.counts.done = Math.max(0, this.counts.done + decided);
      this.counts.mine = Math.max(0, this.counts.mine + decided);
    }

    decided() {
      this.times.push(performance.now());
      if (this.times.length > 21) this.times.shift();
    }

    undone() {
      this.times.pop();
    }

    // Decisions a minute over my last twenty, pauses of more than a minute left out; 0 while there are too few.
    pace() {
      let spent = 0;
      let steps = 0;
      for (let index = 1; index < this.times.length; index += 1) {
        const gap = this.times[index] - this.times[index - 1];
        if (gap < 60000) {
          spent += gap;
          steps += 1;
        }
      }
      return steps >= 4 && spent > 0 ? (steps * 60000) / spent : 0;
    }

    // What all of us did a minute, by the server's counts of the last ten minutes.
    teamPace() {
      const [first, last] = [this.team[0], this.team[this.team.length - 1]];
      const minutes = (last[0] - first[0]) / 60000;
      return minutes > 0.5 ? Math.max(0, (last[1] - first[1]) / minutes) : 0;
    }

    paint() {
      const { done, mine, total, perLabel } = this.counts;
      const aim = this.goal ? Math.min(this.goal, total) : total;
      this.set("done", done);
      this.set("done-side", done);
      this.set("total", aim);
      this.set("mine", mine);
      const width = aim ? Math.min(100, (100 * done) / aim).toFixed(1) : 0;
      if (this.shown.get("bar") !== width) this.bar.setAttribute("width", width);
      this.shown.set("bar", width);
      for (const [id, cell] of this.cells) {
        const n = perLabel[id] || 0;
        if (this.shown.get(cell) === n) continue;
        this.shown.set(cell, n);
        cell.textContent = n;
      }
      const pace = this.pace();
      this.set("pace", pace ? this.words.pace.replace("{n}", Math.round(pace)) : "");
      this.set("time-left", this.timeLeft(aim - done, Math.max(pace, this.teamPace())));
    }

    timeLeft(left, pace) {
      if (left <= 0) return this.goal ? this.words.goalReached : "";
      if (!pace) return "";
      const minutes = left / pace;
      if (minutes < 1) return this.words.leftSoon;
      if (minutes < 90) return this.words.leftMinutes.replace("{n}", Math.round(minutes));
      return this.words.leftHours.replace("{n}", (minutes / 60).toFixed(minutes < 600 ? 1 : 0));
    }

    set(id, value) {
      if (this.shown.get(id) === value) return;
      this.shown.set(id, value);
      document.getElementById(id).textContent = value;
    }
  },
});
