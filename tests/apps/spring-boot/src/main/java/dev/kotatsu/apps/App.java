package dev.kotatsu.apps;

import java.time.Duration;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RequestParam;
import org.springframework.web.bind.annotation.RestController;

/** A service as a stranger writes it: one answer at once, and one that takes its time. */
@SpringBootApplication
@RestController
public class App {
  public static void main(String[] args) {
    SpringApplication.run(App.class, args);
  }

  @GetMapping("/")
  String hello() {
    return "hello\n";
  }

  /** Answers after the given number of seconds. */
  @GetMapping("/slow")
  String slow(@RequestParam(defaultValue = "10") long seconds) throws InterruptedException {
    Thread.sleep(Duration.ofSeconds(seconds).toMillis());
    return "slow\n";
  }
}
